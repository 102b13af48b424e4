"""A sweep's checkpoints by whatever path the results folder is given, and after it has been moved."""

import json
import os
from pathlib import Path

import pytest

from harness.storage import CheckpointFolders
from harness.storage.checkpoints import EVALUATION_FILE, TRAINING, below_root
from harness.storage.object_checkpoints import StoredCheckpointFolders
from ndcl.checkpoints import content

SPELLINGS = ("absolute", "relative", "with ..", "through a link", "a relative link")


def spelled(folder: Path, how: str) -> Path:
    """A path of `folder`, whose parent is the working folder."""
    link = folder.parent / "link"
    if "link" in how and not link.exists():
        link.symlink_to(folder)
    return {
        "absolute": folder,
        "relative": Path(folder.name),
        "with ..": folder / ".." / folder.name,
        "through a link": link,
        "a relative link": Path("link"),
    }[how]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "Grüße an alle [1]"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    return folder


def left(root: Path, name: str, step: int) -> str:
    """A checkpoint as a trial leaves it; its path as Ray tells it, which is given resolved ones."""
    folder = root / name
    folder.mkdir(parents=True)
    content.write(folder / TRAINING, {}, {"step": step})
    (folder / EVALUATION_FILE).write_text(json.dumps({"step": step}))
    return str(folder.resolve())


def found(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.glob("run-*/*/checkpoint_*")}


@pytest.mark.parametrize("how", SPELLINGS)
def test_what_is_kept_stays_by_whatever_path_the_results_are_given(root: Path, how: str) -> None:
    folders = CheckpointFolders(spelled(root, how))
    left(root, "run-0001/a/checkpoint_000000", 2)
    told = left(root, "run-0001/a/checkpoint_000001", 4)
    left(root, "run-0001/b/checkpoint_000000", 2)
    assert folders.address(told) == folders.newest("a") == told
    folders.keep_only("a", folders.address(told))
    assert found(root) == {"run-0001/a/checkpoint_000001", "run-0001/b/checkpoint_000000"}
    for spelling in SPELLINGS:
        folders.keep_only("a", str(spelled(root, spelling) / "run-0001/a/checkpoint_000001"))
    assert "run-0001/a/checkpoint_000001" in found(root)
    folders.keep_only("a", None)
    assert found(root) == {"run-0001/b/checkpoint_000000"}


@pytest.mark.parametrize("how", SPELLINGS)
def test_places_for_ray_are_absolute(root: Path, how: str) -> None:
    folders = CheckpointFolders(spelled(root, how))
    assert (folders.place, folders.run_place("run-0001")) == (str(root), str(root / "run-0001"))


def test_checkpoints_are_known_after_their_folder_has_been_moved_and_elsewhere(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left(root, "run-0001/a.from-2/checkpoint_000001", 4)
    other = left(root, "run-0001/b/checkpoint_from_a_4", 4)
    moved = root.rename(root.with_name("moved"))
    (moved.parent / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    folders = CheckpointFolders(Path(os.pardir) / "moved")
    assert folders.newest("a") == folders.address(before) == str(moved / below_root(before))
    folders.keep_only("a", before)
    folders.keep_only("b", other)
    assert found(moved) == {below_root(before), below_root(other)}


def test_a_trial_of_any_name_has_its_own_checkpoints_alone(root: Path) -> None:
    folders = CheckpointFolders(root)
    for name in ("a[b]*", "ab", "a[b]*c"):
        left(root, f"run-0001/{name}/checkpoint_000000", 2)
    folders.keep_only("a[b]*", None)
    assert found(root) == {"run-0001/ab/checkpoint_000000", "run-0001/a[b]*c/checkpoint_000000"}


def test_uris_are_told_apart_by_what_lies_below_the_sweep() -> None:
    uri = "s3://bucket/shared/digits/ray/run-0002/a/checkpoint_000003?endpoint_override=http%3A%2F%2F127.0.0.1%3A1%2Fx"
    assert below_root(uri) == "run-0002/a/checkpoint_000003"
    assert below_root("/odd?/run-0002/a?/checkpoint_000003") == "run-0002/a?/checkpoint_000003"


ORDERED = [
    "run-0002/a/checkpoint_000009",
    "run-0010/a/checkpoint_000000",
    "run-0010/a/checkpoint_000001",
    "run-0010/a/checkpoint_from_b_4",
    "run-0010/a.from-4/checkpoint_000000",
    "run-0010/a.from-20/checkpoint_000000",
]


@pytest.mark.parametrize("kind", ["disk", "store"])
@pytest.mark.parametrize("first", range(len(ORDERED) - 1))
def test_of_checkpoints_with_the_same_evaluation_the_one_written_last_is_the_newest(
    root: Path, kind: str, first: int
) -> None:
    """Those that a trial has left at a notice, between two evaluations, hold the evaluation before."""
    left(root, ORDERED[first + 1], 4)
    left(root, ORDERED[first], 4)
    folders = CheckpointFolders(root) if kind == "disk" else StoredCheckpointFolders(root.as_uri())
    assert below_root(folders.newest("a") or "") == ORDERED[first + 1]
