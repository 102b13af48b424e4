"""A cluster's YAML file, read once: Ray's cluster launcher or KubeRay. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from harness.yaml_files import parse_documents
from ndcl.errors import UserError, unknown_name

Kind = Literal["aws", "gcp", "azure", "local", "kuberay"]
RAY_KINDS = ("RayJob", "RayCluster")
"""Kubernetes objects that describe a cluster."""


@dataclass(frozen=True, kw_only=True)
class ClusterFile:
    """What a file says, before anything is known to be right but its kind."""

    path: Path
    kind: Kind
    text: str
    values: Mapping[str, Any]
    """The launcher's keys; of KubeRay, the RayJob or RayCluster."""

    @property
    def provider(self) -> Mapping[str, Any]:
        """Of Ray's launcher."""
        return cast(Mapping[str, Any], self.values.get("provider", {}))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What Ray leaves alone: `results`, where they outlive the cluster, and `ray_version`."""
        return self.values.get("metadata") or {}

    @property
    def node_types(self) -> Mapping[str, Mapping[str, Any]]:
        """By name; none where the machines are the user's own."""
        return self.values.get("available_node_types") or {}

    @property
    def head(self) -> str:
        """The name of the head's node type."""
        return str(self.values.get("head_node_type", ""))

    def node_configs(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Each node type's name, where its `node_config` stands, and what that holds."""
        for name, node_type in self.node_types.items():
            yield name, f"available_node_types.{name}.node_config", node_type["node_config"]

    def machine(self, config: Mapping[str, Any]) -> str:
        """The type of machine that a `node_config` asks for; empty where it says none."""
        match self.kind:
            case "gcp":
                return str(config.get("machineType", ""))
            case "azure":
                return str((config.get("azure_arm_parameters") or {}).get("vmSize", ""))
            case _:
                return str(config.get("InstanceType", ""))

    def commands(self, key: str) -> list[str]:
        """The shell commands under a key."""
        return list(self.values.get(key) or ())

    def mounted(self) -> Iterator[tuple[str, Path]]:
        """Paths on the nodes, and what of this machine is copied there."""
        for remote, local in (self.values.get("file_mounts") or {}).items():
            yield remote, Path(local).expanduser()


def read_cluster(path: Path) -> ClusterFile:
    """Raises UserError if it can't be read, or is no cluster of a known kind."""
    try:
        text = path.read_text(encoding="utf-8")
        documents = [document for document in parse_documents(text) if isinstance(document, dict)]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UserError(f"{path}: it can't be read ({reason}); give a cluster, such as clusters/aws.yaml") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: it is not valid YAML: {' '.join(str(error).split())}") from None
    for document in documents:
        if document.get("kind") in RAY_KINDS:
            return ClusterFile(path=path, kind="kuberay", text=text, values=document)
        if isinstance(document.get("provider"), dict):
            return ClusterFile(path=path, kind=_kind(path, document["provider"]), text=text, values=document)
    raise UserError(
        f"{path}: it has neither a `provider` nor a RayJob or RayCluster; give a cluster, such as clusters/aws.yaml"
    )


def _kind(path: Path, provider: Mapping[str, Any]) -> Kind:
    kinds = [kind for kind in get_args(Kind) if kind != "kuberay"]
    if provider.get("type") not in kinds:
        raise UserError(f"{path}: provider.type: {unknown_name('provider', provider.get('type'), kinds)}")
    return cast(Kind, provider["type"])
