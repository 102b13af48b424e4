"""A sweep's storage: what is written there, what comes back, and how it says that it can't be reached."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import fs

from harness.config.commands import typed
from harness.records import Journal
from harness.search.population import Move
from harness.search.population_journal import PopulationJournal
from harness.state.selected_models import checkpoint_of
from harness.storage import Storage
from harness.storage.checkpoints import EVALUATION_FILE, TRAINING, fetched, is_whole
from harness.storage.folder import sweep_id
from harness.storage.storage import STORAGE_FILE, recorded_storage
from harness.sweep.prepare import prepare
from ndcl.checkpoint_files import MANIFEST, STATE
from ndcl.checkpoints import Content, Parts, content
from ndcl.errors import UserError
from ndcl.filesystems import filesystem_of, join
from tests.integration import sweeps
from tests.made.made_records import record
from tests.servers.object_stores import served_gs, served_s3


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with served_s3() as uri:
        yield uri


@pytest.fixture(scope="module")
def google_bucket() -> Iterator[str]:
    with served_gs() as uri:
        yield uri


@pytest.fixture(params=["disk", "bucket", "google_bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "shared")
    return join(request.getfixturevalue(request.param), tmp_path.name)


def plan_in(folder: Path, **changes: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return sweeps.planned(sweeps.written(folder, **changes), folder / "results")


def prepared(plan: Any, storage: Storage | None, *, fresh: bool = False) -> None:
    plan.folder.mkdir(parents=True, exist_ok=True)
    prepare(plan, fresh, storage)


def test_another_machine_goes_on_from_what_was_stored(tmp_path: Path, place: str) -> None:
    first, second = plan_in(tmp_path / "one"), plan_in(tmp_path / "two")
    prepared(first, Storage(place, "tiny"))
    identity = sweep_id(first.folder, Storage(place, "tiny"))
    journal = Journal(first.folder, Storage(place, "tiny").put)
    journal.write(record(0, "running"))
    journal.write(record(0))
    moves = [Move(name="a", donor="b", values={"x": 1})]
    PopulationJournal(first.folder, Storage(place, "tiny").put).write("study", 2, moves)

    prepared(second, Storage(place, "tiny"))
    assert Journal(second.folder).read() == [record(0)]
    assert PopulationJournal(second.folder).read("study", 2) == moves
    assert sweep_id(second.folder, Storage(place, "tiny")) == identity
    assert recorded_storage(second.folder) == place


def test_what_is_stored_counts_and_not_what_an_earlier_machine_has_left(tmp_path: Path, place: str) -> None:
    storage, plan = Storage(place, "tiny"), plan_in(tmp_path / "one")
    prepared(plan, storage)
    newer = replace(record(0), reason="written by the machine that took over")
    Journal(plan.folder).write(record(0))
    Journal(tmp_path / "elsewhere", storage.put).write(newer)
    prepared(plan, storage)
    assert Journal(plan.folder).read() == [newer]


def test_fresh_clears_the_storage_as_well(tmp_path: Path, place: str) -> None:
    storage, plan = Storage(place, "tiny"), plan_in(tmp_path / "one")
    prepared(plan, storage)
    Journal(plan.folder, storage.put).write(record(0))
    prepared(plan, storage, fresh=True)
    assert Journal(plan.folder).read() == []
    other = plan_in(tmp_path / "two")
    prepared(other, storage)
    assert Journal(other.folder).read() == []


def test_the_lease_lies_beside_the_sweep_and_stays_when_that_is_cleared(place: str) -> None:
    storage = Storage(place, "tiny")
    assert storage.lease_file.read() is None
    storage.lease_file.write("first")
    storage.lease_file.write("second")
    storage.put("sweep.yaml", "name: tiny")
    storage.clear()
    assert storage.lease_file.read() == "second"
    for _ in range(2):
        storage.lease_file.remove()
        assert storage.lease_file.read() is None


def test_a_stored_sweep_of_other_values_is_not_gone_on_with(tmp_path: Path, place: str) -> None:
    prepared(plan_in(tmp_path / "one"), Storage(place, "tiny"))
    changed = plan_in(tmp_path / "two", train={**sweeps.TINY["train"], "num_steps": 6})
    with pytest.raises(UserError, match=r"train\.num_steps: 4 -> 6"):
        prepared(changed, Storage(place, "tiny"))


def test_a_sweep_stays_with_the_storage_it_was_started_with(tmp_path: Path) -> None:
    place = str(tmp_path / "shared")
    plan, local = plan_in(tmp_path / "one"), plan_in(tmp_path / "two")
    prepared(plan, Storage(place, "tiny"))
    with pytest.raises(UserError, match=f"was started with {place} storage; give --storage {place}"):
        prepared(plan, None)
    prepared(local, None)
    with pytest.raises(UserError, match="was started with no storage; leave out --storage"):
        prepared(local, Storage(place, "tiny"))
    prepared(local, Storage(place, "tiny"), fresh=True)


def test_a_storage_is_the_same_by_each_spelling_of_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_in(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "für alle"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    places = ["für alle", str(folder), folder.as_uri(), f"file://{folder}", "für alle/", "link/../link"]
    for place in (*places, *reversed(places)):
        prepared(plan, Storage(place, "tiny"))
        assert recorded_storage(plan.folder) == str(folder)
    assert [path.name for path in folder.iterdir()] == ["tiny"]
    assert {path.name for path in tmp_path.iterdir()} == {"für alle", "link", "one"}
    assert Storage("~/für alle", "tiny").place == str(Path.home().resolve() / "für alle")


def test_a_place_recorded_as_a_uri_by_an_earlier_version_is_the_same(tmp_path: Path) -> None:
    folder, plan = tmp_path / "shared", plan_in(tmp_path / "one")
    prepared(plan, Storage(str(folder), "tiny"))
    (plan.folder / STORAGE_FILE).write_text(folder.as_uri())
    prepared(plan, Storage(str(folder), "tiny"))


def test_a_storage_that_was_moved_is_known_by_what_it_holds(tmp_path: Path) -> None:
    plan, other = plan_in(tmp_path / "one"), plan_in(tmp_path / "two")
    for each, place in ((plan, "shared"), (other, "others")):
        prepared(each, Storage(str(tmp_path / place), "tiny"))
        sweep_id(each.folder, Storage(str(tmp_path / place), "tiny"))
    (tmp_path / "shared").rename(tmp_path / "moved")
    prepared(plan, Storage(str(tmp_path / "moved"), "tiny"))
    assert recorded_storage(plan.folder) == str(tmp_path / "moved")
    with pytest.raises(UserError, match="was started with"):
        prepared(plan, Storage(str(tmp_path / "others"), "tiny"))


def test_a_last_slash_makes_no_other_place() -> None:
    places = ("s3://bucket/all/?region=x", "s3://bucket/all?region=x", "s3://bucket/all//?region=x")
    assert len({Storage(place, "tiny").uri for place in places}) == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file://shared/results", "it names the machine 'shared'; give the whole path, as file:///PATH or alone"),
        ("ftp://host/results", "unknown kind of place; valid: s3://"),
        ("s3://key:secret@bucket/results", r"^s3://\*\*\*@bucket/results/tiny: it holds a key"),
        ("abfs://place@account.dfs.core.windows.net/results?sig=secret", r"windows\.net/results/tiny: it holds a key"),
    ],
)
def test_places_that_are_none(place: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Storage(place, "tiny")
    assert "secret" not in str(error.value)


def test_a_storage_that_can_not_be_reached_says_so_in_one_line(bucket: str) -> None:
    missing = bucket.replace("s3://bucket", "s3://no-such-bucket")
    with pytest.raises(UserError, match="the storage can't be reached") as error:
        Storage(missing, "tiny").put("trials/a.json", "{}")
    assert "\n" not in str(error.value)
    assert "endpoint_override" not in str(error.value).partition(" (")[0]


def test_a_half_written_file_is_never_seen(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), "tiny")
    storage.put("trials/a.json", "{}")
    assert [path.name for path in (tmp_path / "tiny" / "trials").iterdir()] == ["a.json"]


class Stage:
    """The checkpoints of a sweep, and trials that leave some, as Ray Tune would."""

    def __init__(self, place: str, scratch: Path) -> None:
        self.storage = Storage(place, "tiny")
        self.folders = self.storage.checkpoints()
        self.scratch = scratch

    def leave(self, path: str, step: int, *, without: str = "", parts: tuple[str, ...] = ()) -> str:
        """Store a checkpoint at `run/trial/checkpoint_...`; returns its path as Ray tells it."""
        filesystem, root = filesystem_of(join(self.storage.uri, "ray"))
        content = Content({"weights": torch.full((2,), float(step))}, {"step": step})
        made = self.scratch / path
        (Parts(dict.fromkeys(parts, content)) if parts else content).write(made / TRAINING)
        (made / EVALUATION_FILE).write_text(json.dumps({"step": step}))
        if without:
            (made / without).unlink()
        filesystem.create_dir(f"{root}/{path}")
        fs.copy_files(str(made), f"{root}/{path}", fs.LocalFileSystem(), filesystem)
        return f"{root}/{path}"

    def found(self) -> set[str]:
        """All checkpoint folders that are stored, relative to the root."""
        filesystem, root = filesystem_of(join(self.storage.uri, "ray"))
        infos = filesystem.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        paths = [info.path.removeprefix(f"{root}/") for info in infos if info.is_file]
        return {"/".join(path.split("/")[:3]) for path in paths}


@pytest.fixture
def stage(place: str, tmp_path: Path) -> Stage:
    return Stage(place, tmp_path / "scratch")


def step_in(checkpoint: str | None) -> float:
    assert checkpoint is not None
    with fetched(checkpoint) as folder:
        assert is_whole(folder)
        return float(content.read(folder / TRAINING)[0]["weights"][0])


def test_checkpoints_in_an_object_store_are_read_back(stage: Stage) -> None:
    assert stage.folders.new_run() == "run-0001"
    assert stage.folders.newest("a") is None
    told = stage.leave("run-0001/a/checkpoint_000000", 2)
    assert step_in(stage.folders.address(told)) == 2
    assert stage.folders.newest("a") == stage.folders.address(told)
    assert stage.storage.checkpoints().new_run() == "run-0002"


def test_a_number_of_a_start_is_not_given_again_though_nothing_of_it_is_left(stage: Stage) -> None:
    stage.leave("run-0002/a/checkpoint_000000", 2)
    folders = stage.storage.checkpoints()
    folders.keep_only("a", None)
    folders.remove_empty_runs()
    assert folders.new_run() == "run-0003"
    assert folders.new_run() == "run-0004"


def test_the_newest_is_the_whole_one_of_the_highest_step_over_all_starts(stage: Stage) -> None:
    stage.leave("run-0001/a/checkpoint_000003", 8)
    stage.leave("run-0002/a.from-8/checkpoint_000000", 10)
    stage.leave("run-0002/a/checkpoint_000000", 4)
    stage.leave("run-0002/a/checkpoint_000001", 12, without=f"{TRAINING}/{STATE}")
    stage.leave("run-0002/a/checkpoint_000002", 14, without=EVALUATION_FILE)
    stage.leave("run-0002/b/checkpoint_000000", 16)
    assert step_in(stage.folders.newest("a")) == 10


def test_a_checkpoint_of_several_trainings_is_whole_with_all_of_them(stage: Stage) -> None:
    whole = stage.leave("run-0001/a/checkpoint_000000", 2, parts=("art", "ink"))
    stage.leave("run-0001/a/checkpoint_000001", 4, parts=("art", "ink"), without=f"{TRAINING}/ink/{STATE}")
    assert stage.folders.newest("a") == stage.folders.address(whole)


def test_a_checkpoint_that_has_not_arrived_whole_is_told_and_goes_with_the_next(bucket: str, tmp_path: Path) -> None:
    stage = Stage(join(bucket, tmp_path.name), tmp_path)
    assert stage.folders.has_arrived(stage.folders.address(stage.leave("run-0001/a/checkpoint_000000", 2)))
    for number, missing in enumerate([f"{TRAINING}/{STATE}", f"{TRAINING}/{MANIFEST}", EVALUATION_FILE], start=1):
        told = stage.leave(f"run-0001/a/checkpoint_00000{number}", 4, without=missing)
        assert not stage.folders.has_arrived(stage.folders.address(told))
    later = stage.folders.address(stage.leave("run-0001/a/checkpoint_000009", 6))
    assert stage.folders.has_arrived(later)
    stage.folders.keep_only("a", later)
    assert stage.found() == {"run-0001/a/checkpoint_000009"}


def test_only_what_is_kept_remains(stage: Stage) -> None:
    stage.leave("run-0001/a/checkpoint_000000", 2)
    stage.leave("run-0001/b/checkpoint_000000", 2)
    folders = stage.storage.checkpoints()
    kept = folders.address(stage.leave("run-0002/a/checkpoint_000000", 4))
    folders.keep_only("a", kept)
    assert stage.found() == {"run-0001/b/checkpoint_000000", "run-0002/a/checkpoint_000000"}
    later = folders.address(stage.leave("run-0002/a/checkpoint_000001", 6))
    folders.keep_only("a", later)
    folders.keep_only("b", None)
    assert stage.found() == {"run-0002/a/checkpoint_000001"}
    folders.remove_empty_runs()
    assert folders.new_run() == "run-0003"


def test_weights_taken_over_from_another_trial_are_a_copy(stage: Stage) -> None:
    donor = stage.folders.address(stage.leave("run-0001/a/checkpoint_000000", 6))
    copied = stage.folders.copy(donor, "b")
    stage.folders.keep_only("a", None)
    assert stage.folders.newest("b") == copied
    assert step_in(copied) == 6


def test_a_model_is_exported_from_where_its_checkpoint_is_stored(stage: Stage, tmp_path: Path) -> None:
    plan = plan_in(tmp_path / "one")
    prepared(plan, stage.storage)
    stage.leave(f"run-0001/{record(0).name}/checkpoint_000000", 4)
    found = checkpoint_of(plan.folder, record(0))
    assert float(content.read(found)[0]["weights"][0]) == 4
    with pytest.raises(UserError, match="its checkpoint is no longer in") as error:
        checkpoint_of(plan.folder, record(1))
    told, _, command = str(error.value).partition("; to delete")
    assert "endpoint_override" not in told
    assert f"--storage {typed(stage.storage.place)} --fresh" in command
