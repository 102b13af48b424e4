"""What AWS's SDK knows of EC2 without asking it: regions, and what `RunInstances` takes."""

from functools import cache
from typing import Any

from ndcl.errors import UserError


@cache
def run_instances() -> Any:
    """The shape of what RunInstances takes. Raises UserError without the SDK."""
    return _session().get_service_model("ec2").operation_model("RunInstances").input_shape


def instance_types() -> frozenset[str]:
    """All types that the SDK knows by name. Raises UserError without the SDK."""
    return frozenset(run_instances().members["InstanceType"].enum)


@cache
def regions() -> frozenset[str]:
    """Of all partitions. Raises UserError without the SDK."""
    partitions = _session().get_available_partitions()
    return frozenset(region for part in partitions for region in _session().get_available_regions("ec2", part))


@cache
def _session() -> Any:
    try:
        import botocore.session
    except ModuleNotFoundError:
        raise UserError("AWS's SDK is not installed; make install, or pip install boto3") from None
    return botocore.session.get_session()
