"""On which versions of its data sets a report rests: on one each, unless version 0.1 ran it on several. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.records import TrialRecord
from harness.records.record import digest_of
from ndcl.data.store.format import short_digest

UNKNOWN = "unknown"
"""Stands for the digest where a training does not say it."""
Versions = Mapping[str, Mapping[str, int]]
"""Trainings that have been evaluated, by data set and digest."""


def versions_of(records: Sequence[TrialRecord]) -> Versions:
    """What these trainings say of the data that they saw."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        if record.evaluations:
            found.setdefault(record.study.dataset, Counter())[digest_of(record) or UNKNOWN] += 1
    return found


def data_lines(versions: Versions) -> list[str]:
    """A warning for each data set of which trainings saw several versions, or may have."""
    return [
        f"DIFFERENT DATA: not all trainings saw the same version of data set {name} ({_listed(counts)}). Numbers that "
        "average or compare them are not of the same data."
        for name, counts in versions.items()
        if len(counts) > 1
    ]


def unknown_lines(versions: Versions) -> list[str]:
    """A line for each data set of which no training says what it saw, as in early versions."""
    return [
        f"it is not known whether all trainings saw the same version of data set {name}: an early version made them"
        for name, counts in versions.items()
        if set(counts) == {UNKNOWN}
    ]


def _listed(counts: Mapping[str, int]) -> str:
    """`digest 0123456789ab: 5 trainings, unknown: 2 trainings`."""
    return ", ".join(
        f"{digest if digest == UNKNOWN else f'digest {short_digest(digest)}'}: {number} trainings"
        for digest, number in counts.items()
    )
