"""Whether region and availability zones are some that AWS has, by the SDK's own list."""

import difflib
import re
from collections.abc import Iterator

from harness.cluster.checks.ec2_model import regions
from harness.cluster.checks.findings import Finding
from harness.cluster.files import ClusterFile

_ZONE = re.compile(r"([a-z]{2,}(?:-[a-z]+)+-\d+)(?:[a-z]|-[a-z]+-\d+[a-z])")
"""Such as us-west-2a, or the local zone us-west-2-lax-1a."""


def region_given(file: ClusterFile) -> Iterator[Finding]:
    """That there is one."""
    if not file.provider.get("region"):
        yield Finding(where="provider", what="it has no region", remedy="such as region: us-west-2")


def location(file: ClusterFile) -> Iterator[Finding]:
    """Where."""
    region = str(file.provider.get("region") or "")
    found = _of_region(region) if region else None
    if found:
        yield found
        return
    for zone in zones_of(file) if region else ():
        in_zone = _ZONE.fullmatch(zone)
        if not in_zone or in_zone.group(1) != region:
            what = f"{zone} is no zone of {region}"
            yield Finding(where="provider.availability_zone", what=what, remedy=f"such as {region}a, or leave it out")


def zones_of(file: ClusterFile) -> list[str]:
    """The zones that the file names."""
    return [zone.strip() for zone in str(file.provider.get("availability_zone") or "").split(",") if zone.strip()]


def _of_region(region: str) -> Finding | None:
    zone = _ZONE.fullmatch(region)
    near = difflib.get_close_matches(region, sorted(regions()), n=1)
    if region in regions():
        return None
    if zone and zone.group(1) in regions():
        what, remedy = f"{region} is a zone", f"region: {zone.group(1)}, availability_zone: {region}"
    else:
        remedy = f"did you mean '{near[0]}'?" if near else "such as us-west-2; aws ec2 describe-regions lists them"
        what = f"AWS has no region {region}"
    return Finding(where="provider.region", what=what, remedy=remedy)
