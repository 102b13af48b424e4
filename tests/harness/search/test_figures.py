"""Optuna's figures of a study, as files."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.plan import StudyPlan
from harness.records import TrialRecord
from harness.search.figures import draw_study
from harness.search.frozen_trials import study_in_memory
from tests.made.made_large_sweep import plans, sweep_records
from tests.made.made_records import record, study

ALL = {"optimization_history", "slice", "parallel_coordinate", "param_importances"}


def drawn(folder, plan: StudyPlan, trials: list[TrialRecord]) -> set[str]:
    """The names of the pictures, each of which opens and isn't blank."""
    files = draw_study(study_in_memory(plan, trials), folder)
    pictures = [path for path in files if path.suffix == ".png"]
    for path in pictures:
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(maxcolors=1 << 20)) > 4
    return {path.stem for path in pictures}


def test_a_study_with_pruned_trials_and_conditional_values_has_all_figures(tmp_path):
    (plan,) = [p for p in plans() if p.key.name == "ndcl.digits.long_tail-10.scan"]
    trials = [r for r in sweep_records() if r.study == plan.key and r.stage == "search"]
    assert drawn(tmp_path / "made", plan, trials) == ALL


def test_several_objectives_have_a_front(tmp_path):
    plan = study(objectives=("validation_accuracy", "worst_domain_accuracy"))
    names = list(plan.objectives)
    trials = [replace(r, config={**r.config, "select_by": names}) for r in (record(0), record(1, accuracy=0.6))]
    assert drawn(tmp_path, plan, trials) == {"pareto_front"}


def test_without_a_finished_trial_nothing_is_drawn(tmp_path):
    assert draw_study(study_in_memory(study(), [record(0, "pruned"), record(1, "running")]), tmp_path) == []
    assert drawn(tmp_path, study(), [record(0)]) == ALL - {"param_importances"}
    assert drawn(tmp_path, study(space={}), [replace(record(0), values={})]) == {"optimization_history"}


@pytest.mark.skipif(importlib.util.find_spec("plotly") is None, reason="plotly is not installed (the extra `plots`)")
def test_the_interactive_page_needs_no_network(tmp_path):
    files = draw_study(study_in_memory(study(), [record(0), record(1)]), tmp_path)
    (page,) = [path for path in files if path.suffix == ".html"]
    assert page.read_text().count("plotly-graph-div") >= len(ALL)
    assert "<script src=" not in page.read_text()


KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
from harness.search.figures import StudyFigures
from tests.made.made_records import record, study
if __name__ == "__main__":
    processes = set()
    for number in range(2):
        StudyFigures(plan=study(), records=[record(0)]).draw(Path(sys.argv[1], str(number)))
        processes |= {child.pid for child in multiprocessing.active_children()}
    print(*processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_process_draws_for_all_studies_and_ends_with_a_sweep_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, program, tmp_path], env=environment, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    assert all((tmp_path / name / "optimization_history.png").is_file() for name in "01")
    (process,) = done.stdout.split()
    deadline = time.monotonic() + 60
    while Path("/proc", process.decode()).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
