"""The comparison of algorithms: accuracies on the unseen target domains, from the records of a sweep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import TypeVar

from harness.records import StudyKey, TrialRecord
from harness.records.selection import criteria
from harness.report.analysis.curves import Curve, curves_of
from harness.report.analysis.data_versions import Versions, versions_of
from harness.report.analysis.families import families
from harness.report.analysis.fronts import Front, fronts_of
from harness.report.analysis.setting_table import SettingTable, table_of
from ndcl.criteria import ORACLE
from ndcl.errors import UserError, unknown_name

T = TypeVar("T")
DEFAULT_REFERENCE = "erm"
ORACLE_WARNING = (
    "ORACLE: selected with labels of the target domain; not comparable with numbers selected on source domains alone."
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a sweep found."""

    tables: tuple[SettingTable, ...]
    """One per data set and setting."""
    curves: tuple[Curve, ...]
    """One per data set and kind of setting that was run at several imbalance ratios."""
    fronts: tuple[Front, ...]
    """One per study that was searched for several objectives."""
    reference: str | None
    """What every other algorithm is compared with; None if there is no record."""
    data: Versions
    """On which versions of its data sets it rests."""
    criteria: tuple[str, ...]
    """What search trials and their checkpoints were selected by; of several, their mean."""
    methods: Mapping[str, str]
    """By the name of each row, the algorithm that it trains: variants of one algorithm share it."""
    families: Mapping[str, str]
    """By the name of each row, which algorithms its own works like; empty of few."""
    without_target: tuple[StudyKey, ...] = ()
    """Studies that trained on all domains, so that there is nothing to compare them on."""

    @property
    def oracle(self) -> bool:
        """Whether labels of the target domain were used to select, so that no number is comparable with others."""
        return ORACLE in self.criteria

    @property
    def algorithms(self) -> list[str]:
        """All, the reference first, as in every table."""
        names = _unique(name for table in self.tables for name in table.algorithms)
        return _ordered(names, self.reference, self.families)

    @property
    def mark(self) -> str:
        """What stands at the head of every title if the oracle was used; else nothing."""
        return "ORACLE, " if self.oracle else ""


def compare(
    records: Sequence[TrialRecord],
    *,
    reference: str | None = None,
    studies: Sequence[StudyKey] = (),
    top_k: int = 1,
) -> Comparison:
    """The comparison of all algorithms among `records`; the numbers are accuracies on the target's test set.

    Every number comes from the checkpoint that the sweep's own criterion chose. A study without a finished final run
    is shown by its selected search trial, as provisional. Rows and columns stand in the order of `studies`, the sweep's
    plan, else as they first appear, target domains in the data set's own order as far as that is known; the `reference`
    (default: erm, else the first algorithm) comes first. `top_k` search trials of each study were repeated as final
    runs.
    Raises UserError if no record is of the `reference`.
    """
    without = [record for record in records if not record.has_target]
    records = [record for record in records if record.has_target]
    present = {record.study for record in records}
    keys = [key for key in _unique([*studies, *(record.study for record in records)]) if key in present]
    if not studies:
        keys.sort(key=domain_places(records).__getitem__)
    places = {key: place for place, key in enumerate(keys)}
    records = sorted(records, key=lambda record: places[record.study])
    names = _unique(key.algorithm for key in keys)
    reference = _reference(names, reference)
    methods = {record.study.algorithm: _method(record) for record in records}
    own = families(names, methods, reference)
    names = _ordered(names, reference, own)
    settings = _unique(map(_setting, keys))
    tables = [_table(records, [key for key in keys if _setting(key) == s], names, top_k, own) for s in settings]
    searched = [record for record in records if record.stage == "search"] or records
    return Comparison(
        tables=tuple(tables),
        curves=curves_of(tables),
        fronts=fronts_of(records, top_k),
        reference=reference,
        data=versions_of(records),
        criteria=tuple(_unique(name for record in searched for name in criteria(record))),
        methods=methods,
        families=own,
        without_target=tuple(_unique(record.study for record in without)),
    )


def oracle_line(comparison: Comparison) -> str:
    """What must stand under a picture's title if the oracle was used."""
    return "\n" + ORACLE_WARNING.replace("; ", ";\n") if comparison.oracle else ""


def _reference(names: Sequence[str], asked: str | None) -> str | None:
    if asked is not None and asked not in names:
        raise UserError(f"reference: {unknown_name('algorithm', asked, names)}")
    default = DEFAULT_REFERENCE if DEFAULT_REFERENCE in names else next(iter(names), None)
    return asked or default


def _method(record: TrialRecord) -> str:
    """Name of the algorithm that it trains; that of the study where the record does not say it."""
    return str(record.config.get("algorithm", {}).get("name", record.study.algorithm))


def _setting(key: StudyKey) -> tuple[str, str]:
    return key.dataset, key.setting


def _ordered(names: Sequence[str], reference: str | None, own: Mapping[str, str]) -> list[str]:
    """The reference first, then family by family, in the order in which these first appear."""
    order = _unique(own.get(name, "") for name in names)
    return sorted(names, key=lambda name: (name != reference, order.index(own.get(name, ""))))


def _table(
    records: Iterable[TrialRecord],
    keys: Sequence[StudyKey],
    names: Sequence[str],
    top_k: int,
    families: Mapping[str, str],
) -> SettingTable:
    """The table of the studies `keys`; `names` are all algorithms, the reference first."""
    own = set(keys)
    return table_of(
        [record for record in records if record.study in own],
        algorithms=[name for name in names if any(key.algorithm == name for key in keys)],
        targets=_unique(key.target for key in keys),
        reference=names[0],
        top_k=top_k,
        families=families,
    )


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))


def domain_places(records: Sequence[TrialRecord]) -> dict[StudyKey, int]:
    """The place of each study's target domain among the domains of its data set.

    An evaluation has the source domains in the data set's order, and what is a target in one study is a source in
    another. Domains of which no evaluation tells come first.
    """
    orders: dict[str, TopologicalSorter[str]] = {}
    for dataset, sources in _source_domains(records):
        sorter = orders.setdefault(dataset, TopologicalSorter())
        for before, after in pairwise(sources):
            sorter.add(after, before)
    places = {
        (dataset, domain): place + 1
        for dataset, sorter in orders.items()
        for place, domain in enumerate(sorter.static_order())
    }
    return {record.study: places.get((record.study.dataset, record.study.target), 0) for record in records}


def _source_domains(records: Sequence[TrialRecord]) -> dict[tuple[str, tuple[str, ...]], None]:
    """Data sets with the source domains of each study, each once."""
    first = ((record.study.dataset, record.evaluations[0]) for record in records if record.evaluations)
    return dict.fromkeys((dataset, tuple(evaluation.get("validation", ()))) for dataset, evaluation in first)
