"""A cluster's file, read once: of Ray's cluster launcher, KubeRay, SkyPilot or Slurm. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from harness.config.commands import ndcl_command
from harness.config.kinds import kind_of
from harness.config.yaml_files import parse_documents
from harness.records.sweep_files import yaml_fault
from ndcl.errors import UserError, unknown_name

Kind = Literal["aws", "gcp", "azure", "local", "kuberay", "sky", "slurm"]
LAUNCHED_BY_RAY: tuple[Kind, ...] = ("aws", "gcp", "azure", "local")
"""The providers of Ray's cluster launcher."""
NOT_YET = ", once it is prepared"
"""Stands behind the provider in a shipped file: Ray refuses such a provider by name, before it does anything."""
PLACEHOLDER = "CHANGE-ME"
"""What stands in the shipped files where the user's own value has to be."""
STORAGE_VARIABLE = "NDCL_STORAGE"
"""Of the environment of SkyPilot's machines: where results outlive them."""
RAY_KINDS = ("RayJob", "RayCluster")
"""Kubernetes objects that describe a cluster."""


@dataclass(frozen=True, kw_only=True)
class ClusterFile:
    """What a file says, before anything is known to be right but its kind."""

    path: Path
    kind: Kind
    text: str
    values: Mapping[str, Any]
    """The launcher's keys; of KubeRay, the RayJob or RayCluster; of Slurm, the options of its #SBATCH lines."""

    @property
    def provider(self) -> Mapping[str, Any]:
        """Of Ray's launcher."""
        return cast(Mapping[str, Any], self.values.get("provider", {}))

    @property
    def is_prepared(self) -> bool:
        """Whether `provider.type` is a provider, and not the words that keep `ray up` from starting anything yet."""
        provider = self.values.get("provider")
        return not (isinstance(provider, Mapping) and NOT_YET in str(provider.get("type")))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What Ray leaves alone: `results`, where these outlive it; `data`, where data sets lie; `ray_version`."""
        if self.kind == "sky":
            return {"results": (self.values.get("envs") or {}).get(STORAGE_VARIABLE)}
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
        if text.startswith("#!"):
            return _slurm(path, text)
        documents = [document for document in parse_documents(text) if isinstance(document, dict)]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UserError(f"{path}: it can't be read ({reason}); give a cluster, such as clusters/aws.yaml") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: it is not valid YAML: {yaml_fault(error)}") from None
    for document in documents:
        if document.get("kind") in RAY_KINDS:
            return ClusterFile(path=path, kind="kuberay", text=text, values=document)
        if isinstance(document.get("provider"), dict):
            return ClusterFile(path=path, kind=_kind(path, document["provider"]), text=text, values=document)
        if "resources" in document and "run" in document:
            return ClusterFile(path=path, kind="sky", text=text, values=document)
        _require_no_sweep(path, document)
    raise UserError(
        f"{path}: it has neither a `provider` nor a RayJob or RayCluster; give a cluster, such as clusters/aws.yaml"
    )


def _require_no_sweep(path: Path, document: Mapping[str, Any]) -> None:
    kind = kind_of(document)
    if kind in ("sweep", "training"):
        use = ndcl_command("plan", path) if kind == "sweep" else ndcl_command("train", path)
        given = "a cluster's, such as clusters/aws.yaml"
        raise UserError(f"{path}: it is the file of a {kind}, not of a cluster; give {given}. What {kind}s take: {use}")


def _slurm(path: Path, text: str) -> ClusterFile:
    options = dict(re.findall(r"^#SBATCH\s+--?([\w-]+)(?:[= ](\S*))?", text, re.MULTILINE))
    if not options:
        raise UserError(f"{path}: it is a script without #SBATCH lines; give a cluster, such as clusters/slurm.sbatch")
    return ClusterFile(path=path, kind="slurm", text=text, values=options)


def _kind(path: Path, provider: Mapping[str, Any]) -> Kind:
    kind, is_followed, _ = str(provider.get("type")).partition(NOT_YET)
    if kind not in LAUNCHED_BY_RAY or (is_followed and kind != "aws"):
        raise UserError(f"{path}: provider.type: {unknown_name('provider', provider.get('type'), LAUNCHED_BY_RAY)}")
    return kind
