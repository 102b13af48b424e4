"""Target domains stand in their data set's order also where the sweep's plan is not known."""

import random
from dataclasses import replace

from harness.records import TrialRecord
from harness.report import compare
from harness.report.analysis.comparison import domain_places
from tests.made.made_records import measured

DOMAINS = ("scan", "texture", "print", "sign")


def told(
    target: str, algorithm: str = "erm", domains: tuple[str, ...] = DOMAINS, dataset: str = "digits"
) -> TrialRecord:
    """A final run whose evaluation has the source domains in the data set's order."""
    made = measured(algorithm, target, 0.5)
    sources = {domain: {} for domain in domains if domain != target}
    evaluations = tuple(point | {"validation": sources} for point in made.evaluations)
    return replace(made, study=replace(made.study, dataset=dataset), evaluations=evaluations)


def columns(*records: TrialRecord) -> tuple[str, ...]:
    return compare(records).tables[0].targets


def test_the_order_is_put_together_from_what_each_study_tells() -> None:
    records = [told(target) for target in sorted(DOMAINS)]
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert columns(*records) == DOMAINS
    assert columns(told("sign"), told("texture")) == ("texture", "sign")


def test_every_data_set_has_its_own_order() -> None:
    other = [told(target, domains=DOMAINS[::-1], dataset="mirrored") for target in DOMAINS]
    tables = compare([*map(told, sorted(DOMAINS)), *other]).tables
    assert [table.targets for table in tables] == [DOMAINS, DOMAINS[::-1]]


def test_the_plan_goes_before_it() -> None:
    records = [told(target) for target in DOMAINS]
    keys = [record.study for record in reversed(records)]
    assert compare(records, studies=keys).tables[0].targets == DOMAINS[::-1]


def test_without_evaluations_nothing_is_known_and_the_order_stays() -> None:
    records = [replace(told(target), evaluations=()) for target in ("sign", "print")]
    assert set(domain_places(records).values()) == {0}
    assert columns(*records) == ("sign", "print")
    assert columns(*(measured("erm", target, 0.5) for target in ("sign", "print"))) == ("sign", "print")


def test_notes_and_budgets_stand_in_the_same_order() -> None:
    failed = [replace(told(target, name), state="failed") for name in ("ndcl", "erm") for target in sorted(DOMAINS)]
    (table,) = compare([*failed, *map(told, DOMAINS)]).tables
    assert list(dict.fromkeys(target for _, target in table.budgets)) == list(DOMAINS)
    assert list(dict.fromkeys(target for _, target in table.failed)) == list(DOMAINS)
