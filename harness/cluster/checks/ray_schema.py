"""A cluster's YAML against the schema of Ray's launcher, read from the installed Ray without importing it."""

import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.cluster.checks.findings import Finding, unknown
from harness.cluster.checks.json_schema import against
from harness.cluster.files import ClusterFile

PROVIDER_KEYS = {
    "aws": ("availability_zone", "aws_credentials", "key_pair", "region", "security_group", "use_internal_ips"),
    "gcp": ("availability_zone", "gcp_credentials", "project_id", "region", "use_internal_ips"),
    "azure": (
        "availability_zone",
        "location",
        "msi_name",
        "msi_resource_group",
        "resource_group",
        "subnet_mask",
        "subscription_id",
        "tags",
        "unique_id",
        "use_external_head_ip",
        "use_internal_ips",
    ),
    "local": ("coordinator_address", "external_head_ip", "head_ip", "worker_ips"),
}
"""What each of Ray's providers reads. The schema allows anything there."""
FOR_EVERY_PROVIDER = ("cache_stopped_nodes", "type")


def against_schema(file: ClusterFile) -> Iterator[Finding]:
    """Every violation of Ray's schema, a head of no type, and keys of `provider` that Ray does not read."""
    violations = [*against(_schema(), _as_validated(file)), *_of_mounts(file)]
    if violations:
        yield from violations
        return
    if file.kind != "local" and file.head not in file.node_types:
        what = f"{file.head!r} is not among available_node_types"
        remedy = f"one of {', '.join(file.node_types)}" if file.node_types else "write both, as clusters/aws.yaml"
        yield Finding(where="head_node_type", what=what, remedy=remedy)
    for key in file.provider:
        valid = PROVIDER_KEYS[file.kind] + FOR_EVERY_PROVIDER
        if key not in valid:
            yield unknown(key, valid, "provider")


def _of_mounts(file: ClusterFile) -> Iterator[Finding]:
    """The schema allows anything there."""
    mounts = file.values.get("file_mounts")
    for remote, local in mounts.items() if isinstance(mounts, dict) else ():
        if not isinstance(local, str):
            what = f"{local!r} is no path of this machine"
            yield Finding(where=f"file_mounts.{remote}", what=what, remedy="such as /home/ubuntu/ndcl: .")


def ray_folder() -> Path:
    """Where the installed Ray lies; to import it would take seconds."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def _schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ray_folder() / "autoscaler" / "ray-schema.json").read_text())
    return loaded


def _as_validated(file: ClusterFile) -> dict[str, Any]:
    """Of own machines Ray takes `min_workers` out before it validates."""
    return {key: value for key, value in file.values.items() if not (file.kind == "local" and key == "min_workers")}
