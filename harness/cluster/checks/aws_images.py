"""Whether the images that an AWS cluster's nodes start from are there, and fit their machines. Only looks."""

from collections.abc import Iterator
from typing import Any

from harness.cluster.aws.session import Session, code_of
from harness.cluster.catalogue.ec2_types import ec2_types
from harness.cluster.checks.aws_machines import PARAMETER
from harness.cluster.checks.findings import Finding
from harness.cluster.files import ClusterFile

UNKNOWN_IMAGE = ("InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable")


def images(session: Session, file: ClusterFile, ssm: Any = None) -> Iterator[Finding]:
    """Each image that the file names, by its id or by the parameter that holds it; `ssm`: a client of that service."""
    for _, where, config in file.node_configs():
        image, place = str(config.get("ImageId") or ""), f"{where}.ImageId"
        region = session.account.region
        if image.startswith(PARAMETER):
            path = image.removeprefix(PARAMETER)
            image = _held_by(ssm or _client(region), path) or ""
            if not image:
                remedy = "correct the path: aws ssm get-parameters-by-path --path /aws/service/deeplearning/ami"
                yield Finding(where=place, what=f"{region} has no parameter {path}", remedy=remedy)
        if image:
            yield from _of_image(session.ec2, image, file.machine(config), place, region)


def _of_image(ec2: Any, image: str, instance_type: str, where: str, region: str) -> Iterator[Finding]:
    found = _described(ec2, image)
    if found is None:
        what = f"{region} has no image {image}"
        yield Finding(where=where, what=what, remedy="one of this region; every region has its own ids")
        return
    known = ec2_types().get(instance_type)
    if known and found.get("Architecture") not in (known.architecture, None):
        what = f"{image} is for {found['Architecture']}, a {instance_type} is {known.architecture}"
        yield Finding(where=where, what=what, remedy="an image or a type of the other kind")


def _held_by(ssm: Any, path: str) -> str | None:
    """The id that a parameter holds; None if there is no such parameter. By the call that the roles allow."""
    found: list[dict[str, Any]] = ssm.get_parameters(Names=[path])["Parameters"]
    return str(found[0]["Value"]) if found else None


def _described(ec2: Any, image: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        found: list[dict[str, Any]] = ec2.describe_images(ImageIds=[image])["Images"]
    except ClientError as error:
        if code_of(error) in UNKNOWN_IMAGE:
            return None
        raise
    return found[0] if found else None


def _client(region: str) -> Any:
    import boto3

    return boto3.client("ssm", region_name=region)
