"""Files of a sweep that are damaged, or of other code: every command says so in one line with file and remedy."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness.report.files
from harness.config import load_sweep
from harness.plan import Plan, make_plan
from harness.records import Journal
from harness.records.places import SWEEP_FILE
from harness.search.population import Move
from harness.search.population_journal import PopulationJournal
from harness.search.study_search import open_storage
from harness.storage import Storage
from harness.storage.folder import OPTUNA_FILE, SWEEP_ID_FILE, sweep_id
from harness.storage.lease import Holder, Lease, Rhythm
from harness.storage.storage import STORAGE_FILE
from harness.sweep.prepare import prepare
from harness.tracking.client import open_client
from harness.trials.standalone import run_training
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.files import is_damaged, set_aside_damaged
from tests.harness.cli.test_cli import error_of, run
from tests.integration import sweeps
from tests.made.made_records import record

READING = ("plan", "status", "report", "export", "sync")
"""Commands that read a sweep, beside the sweep itself, and take no longer than that."""
Damage = Callable[[Path], object]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sweep of one study as if it had run."""
    path = sweeps.written(tmp_path, data={"name": "digits", "targets": ["scan"]}, algorithms={"erm": None})
    made = make_plan(load_sweep(path), tmp_path / "results")
    made.folder.mkdir(parents=True)
    prepare(made, fresh=False)
    for one in (record(0, of=made.studies[0].key), record(0, of=made.studies[0].key, stage="final", seed=1)):
        Journal(made.folder).write(one)
    return made


def arguments(verb: str, plan: Plan) -> list[object]:
    name = plan.results.parent / "tiny.yaml" if verb in ("plan", "sweep") else plan.name
    to = ["--to", plan.results.parent / "models"] if verb == "export" else []
    return [verb, name, "--results", plan.results, *to]


def first_record(plan: Plan) -> Path:
    return next(path for path in (plan.folder / "trials").iterdir() if "search" in path.name)


def changed(**changes: Any) -> Damage:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def emptied(path: Path) -> None:
    path.write_text("")


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:100])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(512))


def binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\x01")


def being(text: str) -> Damage:
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (emptied, "it is empty"),
        (zeroed, "it is empty"),
        (cut, "it is cut off or damaged"),
        (binary, "it is no text"),
        (changed(unheard_of=1), "no record of this version of ndcl: unheard_of: unknown key"),
        (changed(state="lost"), "no record of this version of ndcl: state: 'lost' is not valid"),
        (changed(study={"algorithm": "erm"}), "no record of this version of ndcl: study.dataset: a value is required"),
        (changed(evaluations=[{}]), "it has an evaluation without a step"),
        (lambda path: path.write_text("[]"), "no record of this version of ndcl"),
    ],
)
def test_a_damaged_record_is_one_line_with_file_and_remedy(plan: Plan, damage: Damage, message: str) -> None:
    path = first_record(plan)
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        Journal(plan.folder).read()
    assert str(caught.value).startswith(f"{path}: it can't be read (")
    assert any(remedy in str(caught.value) for remedy in ("take it from a copy, or delete it", "move it elsewhere"))


@pytest.mark.parametrize("verb", [*(verb for verb in READING if verb != "status"), "sweep"])
def test_every_command_says_the_same_of_a_damaged_record(plan: Plan, verb: str) -> None:
    path = first_record(plan)
    cut(path)
    line = error_of(*arguments(verb, plan))
    assert str(path) in line
    assert "take it from a copy, or delete it: the next ndcl sweep then trains another in its place" in line


def test_status_shows_the_rest_of_a_sweep_with_a_damaged_record(plan: Plan) -> None:
    path = first_record(plan)
    cut(path)
    result = run(*arguments("status", plan))
    assert result.exit_code == 2
    assert f"{path}: it can't be read (it is cut off or damaged" in result.output
    assert plan.studies[0].key.name in result.output


@pytest.mark.parametrize("damage", [emptied, zeroed, binary, lambda path: path.write_text("name: [tiny")])
@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_damaged_sweep_file_is_one_line_with_its_remedy(plan: Plan, verb: str, damage: Damage) -> None:
    path = plan.folder / SWEEP_FILE
    damage(path)
    line = error_of(*arguments(verb, plan))
    assert str(path) in line
    assert "start the sweep by its YAML file as before, which writes it anew" in line
    path.unlink()
    prepare(plan, fresh=False)  # as the remedy says
    assert run(*arguments(verb, plan)).exit_code == 0


@pytest.mark.parametrize("verb", ["plan", "export", "sync", "sweep"])
def test_the_other_commands_say_it_of_a_damaged_sweep_file_too(plan: Plan, verb: str) -> None:
    zeroed(plan.folder / SWEEP_FILE)
    assert f"{plan.folder / SWEEP_FILE}: it can't be read (it is empty)" in error_of(*arguments(verb, plan))


def test_what_other_systems_leave_is_passed_over(plan: Plan) -> None:
    before = Journal(plan.folder).read()
    (plan.folder / "trials" / f"._{first_record(plan).name}").write_bytes(b"\x00\x05\x16\x07")
    (plan.folder / "trials" / ".DS_Store").write_bytes(b"\x00")
    assert Journal(plan.folder).read() == before
    assert run(*arguments("status", plan)).exit_code == 0


def test_a_damaged_or_lost_identity_is_made_anew(plan: Plan) -> None:
    known = sweep_id(plan.folder)
    assert sweep_id(plan.folder) == known
    for damage in (emptied, binary, zeroed):
        damage(plan.folder / SWEEP_ID_FILE)
        found = sweep_id(plan.folder)
        assert len(found) == 32
        assert sweep_id(plan.folder) == found != known


def test_an_identity_that_a_kill_kept_from_the_storage_is_put_there(plan: Plan, tmp_path: Path) -> None:
    known, storage = sweep_id(plan.folder), Storage(str(tmp_path / "far"), plan.name)
    assert storage.read(SWEEP_ID_FILE) is None
    assert sweep_id(plan.folder, storage) == known
    assert storage.read(SWEEP_ID_FILE) == known


def test_a_damaged_place_of_the_storage_is_no_place(plan: Plan) -> None:
    emptied(plan.folder / STORAGE_FILE)
    with pytest.raises(UserError, match=r"\.storage: it can't be read \(it is empty\); write the place"):
        prepare(plan, fresh=False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "x"}', '{"key": "x", "host": 1, "pid": 2, "unheard": 3}'])
def test_a_damaged_lease_is_waited_for_as_any_other_and_then_taken_over(tmp_path: Path, text: str) -> None:
    storage = Storage(str(tmp_path / "far"), "tiny")
    storage.lease_file.write(text)
    lease, said = Lease(storage, Rhythm(renew=0.05, stale=0.2, settle=0.01)), list[str]()
    lease.take(tmp_path, said.append, take_over=False)
    lease.release()
    assert "the lease is damaged" in said[0]


def test_a_lease_that_is_whole_is_read(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "far"), "tiny")
    holder = Holder(key="k", host="there", pid=1, since="then")
    storage.lease_file.write(json.dumps(vars(holder)))
    assert Lease(storage, Rhythm())._read() == holder


@pytest.mark.parametrize("damage", [emptied, cut, being("7"), being('[{"name": "x"}]')])
def test_a_damaged_decision_of_a_population_is_one_line(tmp_path: Path, damage: Damage) -> None:
    exchanges = PopulationJournal(tmp_path)
    moves = [Move(name=f"trial-{number}", donor="trial-0", values={"a": 0.5}) for number in range(3)]
    exchanges.write("study", 4, moves)
    assert exchanges.read("study", 4) == moves
    [path] = (tmp_path / "populations").iterdir()
    damage(path)
    with pytest.raises(UserError, match="delete it: the population then decides anew") as caught:
        exchanges.read("study", 4)
    assert str(caught.value).startswith(str(path))


def database(path: Path, rows: int = 2000) -> Path:
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE t (x TEXT)")
        made.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * rows)
    made.close()
    return path


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = b"\xab" * (len(content) // 2 - len(content) // 3)
    path.write_bytes(content)


DAMAGED_DATABASES: list[Damage] = [
    lambda path: path.write_text("no database at all " * 100),
    lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    overwritten,
]


@pytest.mark.parametrize("damage", DAMAGED_DATABASES)
def test_a_damaged_database_is_set_aside_with_what_lies_beside_it(tmp_path: Path, damage: Damage) -> None:
    path = database(tmp_path / "made.db")
    said: list[str] = []
    set_aside_damaged(path, said.append, "mended")
    assert path.exists()
    assert not said
    for number in (1, 2):
        damage(path)
        content = path.read_bytes()
        (tmp_path / "made.db-journal").write_text("of the damaged one")
        set_aside_damaged(path, said.append, "mended")
        assert not path.exists()
        assert not (tmp_path / "made.db-journal").exists()
        assert (tmp_path / f"made.db.damaged-{number}").read_bytes() == content
        assert said[-1] == f"{path} is damaged and is kept as made.db.damaged-{number}; mended"
        database(path)


def test_a_database_that_is_locked_is_not_damaged(tmp_path: Path) -> None:
    path = database(tmp_path / "made.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert not is_damaged(path)
    other.close()


def test_a_damaged_store_of_optuna_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / OPTUNA_FILE
    open_storage(path).engine.dispose()
    overwritten(path)
    set_aside_damaged(path, lambda line: None, "")
    assert open_storage(path).get_all_studies() == []


def test_a_damaged_store_of_mlflow_is_made_anew_by_who_writes_and_named_by_who_reads(plan: Plan) -> None:
    assert run(*arguments("sync", plan)).exit_code == 0
    store = plan.results / "mlflow.db"
    overwritten(store)
    with pytest.raises(UserError, match=f"{store} is damaged; make it anew from the journal with: ndcl sync SWEEP"):
        open_client(plan.results)
    code, output = sweeps.ran(*map(str, arguments("sync", plan)))
    assert code == 0, output
    assert f"{store} is damaged and is kept as mlflow.db.damaged-1" in output
    with contextlib.closing(sqlite3.connect(store)) as database:
        names = {name for (name,) in database.execute("SELECT value FROM tags WHERE key = 'ndcl.name'")}
    assert names >= {one.name for one in Journal(plan.folder).read()}


def test_a_single_trainings_damaged_evaluations_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "evaluations.json").write_text("[{")
    with pytest.raises(UserError, match=r"evaluations.json: it can't be read .*--fresh"):
        list(run_training(TrainConfig.from_dict(record(0).config), tmp_path))


# Other code


def of_other_code(plan: Plan, algorithm: str = "mine") -> None:
    """What a fork with its own algorithm leaves behind."""
    path = plan.folder / SWEEP_FILE
    values = yaml.safe_load(path.read_text())
    values["algorithms"][algorithm] = values["algorithms"]["erm"]
    path.write_text(yaml.safe_dump(values))
    made = record(0, of=plan.studies[0].key)
    study = vars(made.study) | {"algorithm": algorithm}
    config = made.config | {"algorithm": {"name": algorithm, "strength": 2.0}}
    text = {**vars(made), "study": study, "config": config, "environment": {"git_revision": "f00d" * 10}}
    (plan.folder / "trials" / f"{algorithm}.json").write_text(json.dumps(text))


@pytest.mark.parametrize("verb", ["status", "sync"])
def test_an_unknown_algorithm_is_named(plan: Plan, verb: str) -> None:
    of_other_code(plan)
    line = error_of(*arguments(verb, plan))
    assert f"{plan.folder / SWEEP_FILE}: this code knows no algorithm 'mine'; run the code that has it" in line
    assert "another version" not in line


def test_report_of_an_unknown_algorithm_says_what_it_lacks(plan: Plan) -> None:
    of_other_code(plan)
    result = run(*arguments("report", plan))
    assert result.exit_code == 0, result.output
    assert "only what the trials' records tell is shown" in result.stderr
    assert "knows no algorithm 'mine'" in result.stderr
    assert "mine" in result.stdout


def test_a_sweep_file_with_other_keys_says_which(plan: Plan) -> None:
    path = plan.folder / SWEEP_FILE
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "unheard_of": 1}))
    assert "was written by another version of ndcl (unheard_of: unknown key" in error_of(*arguments("status", plan))


def test_other_code_rewrites_no_report_without_a_word(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    report = lambda: run(*arguments("report", plan))  # noqa: E731
    assert report().stderr == ""
    assert report().stderr == ""  # the same code tells the same
    before = (plan.folder / "report.md").read_text()
    monkeypatch.setattr(harness.report.files, "to_markdown", lambda *_: "told otherwise")
    monkeypatch.setattr(harness.report.files, "made_from", other_revision(harness.report.files.made_from))
    said = report().stderr
    assert said.startswith("report.md: this code (ndcl 0.1.0, revision 0ther0th")
    assert "reads the same trials differently" in said
    [kept] = plan.folder.glob("report-of-*/report.md")
    assert kept.read_text() == before
    assert (plan.folder / "report.md").read_text() == "told otherwise"
    Journal(plan.folder).write(record(1, of=plan.studies[0].key))
    monkeypatch.setattr(harness.report.files, "to_markdown", lambda *_: "of more trials")
    assert report().stderr == ""


def other_revision(made_from: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    return lambda *arguments: made_from(*arguments) | {"git_revision": "0ther" * 8}


def test_a_report_of_version_0_1_is_kept_if_this_one_differs(plan: Plan) -> None:
    run(*arguments("report", plan))
    values = json.loads((plan.folder / "report.json").read_text())
    del values["made"]
    (plan.folder / "report.json").write_text(json.dumps(values))
    assert run(*arguments("report", plan)).stderr == ""  # it tells the same
    (plan.folder / "report.json").write_text(json.dumps(values | {"reference": "another"}))
    assert "the earlier report is kept in" in run(*arguments("report", plan)).stderr


def test_a_damaged_report_is_written_anew(plan: Plan) -> None:
    run(*arguments("report", plan))
    for damage in (emptied, cut, binary, lambda path: path.write_text("[]")):
        damage(plan.folder / "report.json")
        result = run(*arguments("report", plan))
        assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads((plan.folder / "report.json").read_text())["made"]["ndcl"]
