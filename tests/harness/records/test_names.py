"""Names as people have them: what plan and import accept is written, and reads back, in every form."""

import json
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.cli.status_view import status_view
from harness.config import load_sweep
from harness.config.yaml_files import yaml_text
from harness.plan import Plan, make_plan
from harness.records import Journal, StudyKey, TrialRecord
from harness.records.file_names import MAX_LENGTH, file_name
from harness.records.places import SWEEP_FILE
from harness.report import write_report
from harness.report.files import compare_sweep
from harness.state import read_status
from harness.state.selected_models import selected_models
from ndcl.data import StoreWriter
from ndcl.errors import UserError
from ndcl.names import is_name, require_name, require_text
from tests.harness.cli.test_cli import error_of, run
from tests.made.made_records import RATE, record

NAMES = (
    "Real World",
    "Grüße",
    "日本",
    "a+b",
    "out door",
    "[x]",
    "[/red]",
    "out/door",
    "../up",
    "2",
    "x" * 250,
    "a|b",
    "~",
)
REFUSED = re.compile("is a path|stands for something else|would be taken|files of the same names")
COLLIDING = ("Real World", "real world", "Real_World", "é", "e\N{COMBINING ACUTE ACCENT}", "a/b", "a b", "dog", "dog ")


def is_text(text: str) -> bool:
    try:
        return bool(require_text(text))
    except UserError:
        return False


texts = st.one_of(st.sampled_from(NAMES), st.text(min_size=1, max_size=60)).filter(is_text)
made_up = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", fullmatch=True)
slow_is_fine = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sweep_values(name: str, dataset: str, algorithm: str) -> dict[str, Any]:
    return {
        "name": name,
        "data": dataset,
        "imbalance": {"setting": "natural"},
        "algorithms": {"erm": None, algorithm: {"algorithm": "ndcl"}},
        "train": {"num_steps": 4, "evaluate_every": 2, "batch_size": 4},
        "space": {RATE: {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}},
        "search": {"num_trials": 1, "scheduler": {"name": "none"}},
        "final": {"seeds": 1},
    }


def planned(folder: Path, values: dict[str, Any], domains: tuple[str, ...]) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(yaml_text(values))
    config = load_sweep(path)
    return make_plan(config, folder / "results", domains=lambda name, where: domains, check=lambda config: None)


def as_if_run(plan: Plan) -> list[TrialRecord]:
    """The plan's sweep in its folder, each study with a search trial and a final run."""
    plan.folder.mkdir(parents=True)
    (plan.folder / SWEEP_FILE).write_text(yaml_text(plan.resolved))
    made = []
    for study in plan.studies:
        for stage, seed in (("search", 0), ("final", 1)):
            made.append(record(0, stage=stage, rate=1e-3, seed=seed, of=study.key))
            Journal(plan.folder).write(made[-1])
    return sorted(made, key=lambda one: one.name)


@slow_is_fine
@example(name="made", dataset="shop", algorithm="ours", domains=NAMES)
@example(name="1e3", dataset="2E1", algorithm="0E0", domains=("1e1", "1.5", "-3E2"))
@example(name="made", dataset="Grüße [x]", algorithm="ours", domains=COLLIDING)
@given(
    name=made_up,
    dataset=texts.filter(lambda text: "/" not in text),
    algorithm=made_up.filter(lambda text: text != "erm"),
    domains=st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple),
)
def test_what_a_plan_accepts_reads_back_in_every_form(
    tmp_path_factory: Any, name: str, dataset: str, algorithm: str, domains: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    try:
        plan = planned(folder, sweep_values(name, dataset, algorithm), domains)
    except UserError as error:
        if not REFUSED.search(str(error)):
            raise
        return
    written = as_if_run(plan)
    assert Journal(plan.folder).read() == written
    status = read_status(plan.results, name)
    assert status.plan.studies == plan.studies
    assert {study.stage for study in status.studies} == {"done"}
    assert status_view(status) is not None
    files_are_safe(plan)
    reports_hold(plan, written)


def files_are_safe(plan: Plan) -> None:
    files = [path.stem for path in (plan.folder / "trials").iterdir()]
    assert len({name.casefold() for name in files}) == 2 * len(plan.studies)
    assert all(re.fullmatch(r"[A-Za-z0-9._+~-]+", name) for name in files)
    exported = [one.study.name for one in selected_models(Journal(plan.folder).read(), 1)]
    assert all(len(name) <= MAX_LENGTH and Path(name).name == name for name in exported)


def reports_hold(plan: Plan, records: list[TrialRecord]) -> None:
    """Each target's name stands in each file as it is, and no table of Markdown loses its columns."""
    targets = {study.key.target for study in plan.studies}
    comparison = compare_sweep(plan.folder, records)
    write_report(plan.folder, comparison, records)
    held = json.loads((plan.folder / "report.json").read_text())
    assert {target for table in held["tables"] for target in table["targets"]} == targets
    assert targets <= set(headers((plan.folder / "report.html").read_text(encoding="utf-8")))
    for table in tables_of((plan.folder / "report.md").read_text(encoding="utf-8")):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table}) == 1, table
    latex = (plan.folder / "report.tex").read_text(encoding="utf-8")
    assert "\\begin{tabular}" in latex
    for row in re.findall(r"\\toprule\n(.*) \\\\\n", latex):
        assert len(re.split(r"(?<!\\)&", row)) == len(targets) + 2


def headers(page: str) -> Iterator[str]:
    """The texts of a page's header cells."""

    class Cells(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []
            self.open = False

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag == "th":
                self.found, self.open = [*self.found, ""], True

        def handle_endtag(self, tag: str) -> None:
            self.open = self.open and tag != "th"

        def handle_data(self, data: str) -> None:
            if self.open:
                self.found[-1] += data

    parser = Cells()
    parser.feed(page)
    return iter(parser.found)


def tables_of(markdown: str) -> list[list[str]]:
    blocks = [block.splitlines() for block in markdown.split("\n\n")]
    return [[line for line in block if line.startswith("|")] for block in blocks if block and block[0].startswith("|")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, texts, texts, texts), min_size=2, max_size=2, unique=True))
def test_file_names_are_short_plain_and_differ(pair: list[tuple[str, ...]]) -> None:
    names = [file_name(*parts) for parts in pair]
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9._+~-]+", name)
        assert len(name) <= MAX_LENGTH
    plain = [all(map(is_name, parts)) for parts in pair]
    assert all(plain) or len({name.casefold() for name in names}) == 2


def test_plain_names_are_those_of_version_0_1() -> None:
    assert file_name("ndcl", "OfficeHome", "long_tail-2.5", "Real_World") == "ndcl.OfficeHome.long_tail-2.5.Real_World"
    assert file_name("ndcl", "pacs", "released/cross", "sketch") == "ndcl.pacs.released~cross.sketch"
    for text, shown in (("Real World", "Real_World"), ("Grüße", "Grusse"), ("日本", "")):
        assert re.fullmatch(rf"erm[.]shop[.]natural[.]{shown}~[0-9a-f]{{8}}", file_name("erm", "shop", "natural", text))


def test_a_journal_of_version_0_1_with_free_text_in_its_file_names_goes_on(tmp_path: Path) -> None:
    """`targets: all` let such names through: the files were called by them as they were."""
    plan = planned(tmp_path, sweep_values("made", "shop", "ours"), ("Real World",))
    written = as_if_run(plan)
    for one in written:
        path = plan.folder / "trials" / f"{one.name}.json"
        path.rename(path.with_name(f"{one.study.title}.{one.stage}-{one.number:03d}.json"))
    assert sorted(Journal(plan.folder).read(), key=lambda one: one.name) == written
    assert status_view(read_status(plan.results, "made"), now=0.0) is not None
    Journal(plan.folder).write(written[0])
    assert len(Journal(plan.folder).read()) == len(written)


def test_names_of_digits_need_no_quotes(tmp_path: Path) -> None:
    values = sweep_values("made", "shop", "ours") | {"name": 2024, "data": {"name": 7, "targets": [2]}}
    values["overrides"] = [{"target": 2, "train": {"batch_size": 8}}]
    plan = planned(tmp_path, values, ("1", "2"))
    assert (plan.name, {study.key.target for study in plan.studies}) == ("2024", {"2"})
    assert {study.key.dataset for study in plan.studies} == {"7"}
    values["data"] = {"name": "shop", "targets": [7]}
    with pytest.raises(UserError, match=r"unknown target domain '7'; .*put quotes around a name of digits"):
        planned(tmp_path, values, ("007",))


def test_both_forms_of_an_accent_name_a_domain(tmp_path: Path) -> None:
    on_disk = unicodedata.normalize("NFD", "Café")
    values = sweep_values("made", "shop", "ours") | {"data": {"name": "shop", "targets": ["Café"]}}
    assert {study.key.target for study in planned(tmp_path, values, (on_disk, "b")).studies} == {on_disk}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x" * 300}, "name: 'xxxxxxxxxxxxxxxxxxxx...' has 300 characters; give a name of at most 100"),
        ({"name": "a b"}, "name: 'a b' can't be a name; use letters .* such as a_b"),
        ({"name": "train"}, "name: 'train' stands for something else in the results folder"),
        ({"name": "digits.yaml"}, "name: 'digits.yaml' would be taken for a file"),
        ({"name": False}, "name: YAML reads this as False; put quotes around a name such as 'no'"),
        ({"data": "/sets/mine"}, "data: '/sets/mine' is a path; .* {name: mine, folder: '/sets'}"),
        ({"data": {"name": "shop", "targets": [False]}}, "data.targets.0: YAML reads this as False"),
        ({"data": {"name": "shop", "targets": ["a\tb"]}}, r"data.targets.0: 'a\\tb' holds a line break"),
    ],
)
def test_what_can_not_be_a_name_is_refused_by_the_plan(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(tmp_path, sweep_values("made", "shop", "ours") | changes, ("a", "b"))


@pytest.mark.parametrize("domain", ["a\nb", "a\udce9", "x" * 251, " "])
def test_domains_that_can_not_be_named_are_refused_also_under_all(tmp_path: Path, domain: str) -> None:
    with pytest.raises(UserError, match=r"data.targets: .*rename it"):
        planned(tmp_path, sweep_values("made", "shop", "ours"), ("b", domain))


def test_studies_whose_files_would_be_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"natural[.]Art and erm[.]shop[.]natural[.]art would have files of the same"):
        planned(tmp_path, sweep_values("made", "shop", "ours"), ("Art", "art"))


def test_import_embed_and_sweep_have_one_rule_for_names(tmp_path: Path) -> None:
    for name in ("a+b", "a.b", "A-1_"):
        assert require_name(name) == name
        planned(tmp_path, sweep_values(name, name, name), ("a", "b"))
    for verb, source in (("import", str(tmp_path)), ("embed", "digits")):
        options = ["--backbone", "small_cnn"] if verb == "embed" else []
        assert "can't be a name" in error_of("data", verb, source, "--name", "a b", *options)


def test_a_study_is_exported_by_its_file_name_and_by_its_title(tmp_path: Path) -> None:
    plan = planned(tmp_path, sweep_values("made", "shop", "ours"), ("Real World", "b"))
    records = as_if_run(plan)
    key = StudyKey(algorithm="erm", dataset="shop", setting="natural", target="Real World")
    for name in (key.name, key.title):
        assert [one.study for one in selected_models(records, 1, [name])] == [key]


def test_report_and_status_of_free_text_end_well(tmp_path: Path) -> None:
    plan = planned(tmp_path, sweep_values("a+b", "shop", "ours"), NAMES)
    as_if_run(plan)
    for verb in ("status", "report"):
        result = run(verb, "a+b", "--results", plan.results)
        assert result.exit_code == 0, result.output


def test_a_data_set_takes_no_domain_or_class_that_could_not_be_named_later(tmp_path: Path) -> None:
    values: dict[str, Any] = {"classes": ("a", "b"), "domains": ("c", "d"), "name": "made"}
    for key, what in (("classes", "class"), ("domains", "domain")):
        with pytest.raises(UserError, match=f"{what} 'x.ny' holds a line break"):
            StoreWriter(tmp_path / "made", **values | {key: ("x\ny", "z")}, kind="vectors", shape=(2,), dtype="float32")
