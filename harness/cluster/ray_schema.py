"""A cluster's YAML against the schema of Ray's launcher, read from the installed Ray without importing it."""

import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.cluster.files import ClusterFile
from harness.cluster.findings import Finding, unknown

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
    import jsonschema

    validator = jsonschema.Draft7Validator(_schema())
    for error in validator.iter_errors(_as_validated(file)):
        yield from _findings(error)
    if file.kind != "local" and file.head not in file.node_types:
        what = f"{file.head!r} is not among available_node_types"
        yield Finding(where="head_node_type", what=what, remedy=f"one of {', '.join(file.node_types)}")
    for key in file.provider:
        valid = PROVIDER_KEYS[file.kind] + FOR_EVERY_PROVIDER
        if key not in valid:
            yield unknown(key, valid, "provider")


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


def _findings(error: Any) -> Iterator[Finding]:
    """Of one of jsonschema's errors."""
    where = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties" and "properties" in error.schema:
        for key in error.instance:
            if key not in error.schema["properties"]:
                yield unknown(str(key), error.schema["properties"], where)
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield Finding(where=where or "the file", what=f"'{key}' is missing", remedy="add it")
    else:
        yield Finding(where=where or "the file", what=error.message, remedy="Ray's schema refuses it; correct it")
