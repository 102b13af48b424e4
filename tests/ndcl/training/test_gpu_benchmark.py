"""`benchmarks/gpu.py` on a CPU, tiny: its table, its checks, and what they are worth."""

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmarks import gpu
from ndcl.training import Training

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    gpu.made_photos(folder / "photos", 72, 8)
    return folder


def test_checks_hold_on_a_cpu(folder: Path) -> None:
    lines = list(gpu.checked(folder, CPU))
    assert [line.partition(": ")[2] for line, _ in lines] == ["yes", "yes", "yes", "needs a GPU"]
    assert all(holds for _, holds in lines)


def test_a_resumed_training_that_differs_is_found(folder: Path) -> None:
    def forgets(training: Training, place: Path) -> None:
        original(training, place)
        training.optimizer.state.clear()

    original = Training.load
    with mock.patch.object(Training, "load", forgets):
        assert "tensors differ" in gpu.resumed(folder, CPU)


def test_batches_that_differ_are_found(folder: Path) -> None:
    with mock.patch.object(gpu.Loader, "batch", lambda loader, step: next(loader.batches(step + 1, step + 2))):
        assert gpu.prefetched(folder, CPU) == "they differ"


def test_a_check_that_fails_is_named_and_the_others_go_on(folder: Path) -> None:
    def broken(folder: Path, device: torch.device) -> str:
        raise ValueError("so it is")

    with mock.patch.dict(gpu.CHECKS, {"prefetcher": broken}):
        lines = list(gpu.checked(folder, CPU))
    assert lines[0] == ("prefetcher: ValueError: so it is", False)
    assert len(lines) == 4


def test_what_does_not_fit_or_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    arguments = gpu.parsed(["--device", "cpu", "--backbones", "timm:test_vit:32", "resnet18:32"])
    [left_out, no_time] = gpu.rows(arguments, CPU, until=0.0)
    assert left_out.startswith("timm:test_vit:32: left out, model.backbone: ")
    assert no_time == "resnet18:32, fp32: left out, no time"
    with mock.patch.object(gpu, "measured", side_effect=torch.OutOfMemoryError):
        *_, full = gpu.rows(arguments, CPU, until=float("inf"))
    assert full == "resnet18:32, fp32: out of memory with 2 rows of each domain"


def test_a_backbone_without_a_size_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        gpu.parsed(["--backbones", "resnet18"])
    assert error.value.code == 2
    assert "'resnet18' has no size; give NAME:PIXELS" in capsys.readouterr().err


@pytest.mark.soak
def test_one_command_without_ray() -> None:
    code = (
        "import runpy, sys; sys.modules['ray'] = None; sys.argv = ['gpu.py', '--device', 'cpu', '--backbones', "
        "'resnet18:32', 'timm:test_vit:32', '--steps', '2']; runpy.run_path('benchmarks/gpu.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    head, _, *found = lines
    assert tuple(head) == gpu.HEADS
    assert [row[:3] for row in found] == [["resnet18:32", "fp32", "6"], ["timm:test_vit:32", "fp32", "6"]]
    assert all(float(cell) > 0 for row in found for cell in row[3:6])
    assert "bit-identical resume: yes" in done.stdout
