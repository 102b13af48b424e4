"""Whether the disks of a cluster hold a sweep's data sets, beside the image and the packages. Pure."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ndcl.data.catalogue import find_entry

if TYPE_CHECKING:
    from harness.plan import Plan

IMAGE_GIB, PACKAGES_GIB = 35, 7
"""Of an image with NVIDIA's driver, and of what requirements.lock installs: about."""
SPARE_GIB = 10
"""For logs, checkpoints on their way, and MLflow."""
BYTES_PER_IMAGE = 3 * 256 * 256
"""Of a store with pixels, the shorter side at 256, as it is imported; one with JPEG takes a fraction."""


def needed_gib(plan: "Plan") -> Mapping[str, float]:
    """The data sets of a sweep that the catalogue knows, with the room that each takes at most."""
    needed: dict[str, float] = {}
    for study in plan.studies:
        data: Any = study.base.get("data") or {}
        entry = find_entry(str(data.get("name", "")))
        if entry is not None:
            needed[entry.name] = int(entry.counts.sum()) * BYTES_PER_IMAGE / 2**30
    return needed


def disk_warnings(plan: "Plan", disks_gib: Mapping[str, float]) -> Iterator[str]:
    """A line for each type of node, of those named with their disks, whose disk may become full."""
    sets = needed_gib(plan)
    wanted = IMAGE_GIB + PACKAGES_GIB + SPARE_GIB + sum(sets.values())
    if not sets:
        return
    for name, gib in disks_gib.items():
        if gib < wanted:
            yield (
                f"warning: the disk of {name} has {gib:g} GiB; image and packages take about "
                f"{IMAGE_GIB + PACKAGES_GIB}, {' and '.join(sets)} up to {sum(sets.values()):.0f} (raw pixels): "
                f"{wanted:.0f} are safe"
            )
