"""One training without Ray: whatever it is killed between, no evaluation is missing afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.trials import standalone
from harness.trials.standalone import EVALUATIONS, run_training
from ndcl.checkpoints.content import Content
from ndcl.config import TrainConfig

CONFIG = TrainConfig.from_dict(
    {
        "data": {"name": "digits", "target": "sign"},
        "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 2},
        "algorithm": {"name": "erm"},
        "num_steps": 6,
        "evaluate_every": 2,
        "batch_size": 2,
    }
)


def killed_at(call: int, function: Callable, when: str) -> Callable:
    """`function` that is interrupted before or after what it does at its `call`, counted from 1."""
    calls = 0

    def interrupted(*values: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            raise KeyboardInterrupt
        result = function(*values)
        if calls == call:
            raise KeyboardInterrupt
        return result

    return interrupted


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return list(run_training(CONFIG, tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("written", ["evaluations", "checkpoint"])
def test_no_evaluation_is_lost_by_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: list[dict], written: str, call: int, when: str
) -> None:
    with monkeypatch.context() as patch:
        if written == "checkpoint":
            patch.setattr(Content, "write", killed_at(call, Content.write, when))
        else:
            patch.setattr(standalone, "write_whole", killed_at(call, standalone.write_whole, when))
        with pytest.raises(KeyboardInterrupt):
            list(run_training(CONFIG, tmp_path))
    shown = list(run_training(CONFIG, tmp_path))
    assert [without_times(each) for each in shown] == [without_times(each) for each in undisturbed]
    assert json.loads((tmp_path / EVALUATIONS).read_text()) == shown


def without_times(evaluation: dict) -> dict:
    return {key: value for key, value in evaluation.items() if key != "seconds"}


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_begins_anew_and_fails_has_lost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: list[dict], is_killed: bool
) -> None:
    folder = tmp_path / "one"
    list(run_training(CONFIG, folder))
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(standalone, "trained", killed_at(1, standalone.trained, "before"))
        if is_killed:  # nothing puts it back then, but the next command
            patch.setattr(Path, "rename", killed_at(1, Path.rename, "after"))
        with pytest.raises(KeyboardInterrupt):
            list(run_training(CONFIG, folder, fresh=True))
    assert folder.exists() is not is_killed
    assert [each["step"] for each in run_training(CONFIG, folder)] == [2, 4, 6]
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    anew = list(run_training(CONFIG, folder, fresh=True))
    assert [without_times(each) for each in anew] == [without_times(each) for each in undisturbed]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
