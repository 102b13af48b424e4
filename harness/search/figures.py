"""Optuna's own figures of one study: PNG, and an interactive page where plotly is installed (the extra `plots`)."""

import functools
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import TrialRecord

if TYPE_CHECKING:
    import optuna

    from harness.plan import StudyPlan

DOTS_PER_INCH = 130
NICENESS = 5
PAGE = "interactive.html"


@dataclass(frozen=True, kw_only=True)
class StudyFigures:
    """What a study's figures are drawn from."""

    plan: "StudyPlan"
    records: Sequence[TrialRecord]
    """Of its search."""

    @property
    def name(self) -> str:
        """Unique within the sweep."""
        return f"{self.plan.key.name}.figures"

    def draw(self, folder: Path) -> list[Path]:
        """As `draw_study`, in another process, which lets the trials go first. Raises what that raises."""
        try:
            return _painter().submit(_draw, self, folder).result()
        except BrokenProcessPool:
            _painter.cache_clear()
            raise


def close_painter() -> None:
    """End the process that draws, if there is one; the next figures start another."""
    if _painter.cache_info().currsize:
        _painter().shutdown()
        _painter.cache_clear()


@functools.cache
def _painter() -> ProcessPoolExecutor:
    """One process for the figures of all studies: what it imports takes longer than what it draws."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and its pipes stay open at this end."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _draw(figures: StudyFigures, folder: Path) -> list[Path]:
    from harness.search.frozen_trials import study_in_memory

    return draw_study(study_in_memory(figures.plan, figures.records), folder)


def draw_study(study: "optuna.Study", folder: Path) -> list[Path]:
    """Write what the study has enough trials for into `folder`, which is made; returns the files.

    History, importances, slice and parallel coordinates; with several objectives the Pareto front alone.
    The page needs no network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = _names(study)
    with warnings.catch_warnings():  # Optuna calls its matplotlib figures experimental
        warnings.simplefilter("ignore")
        files = [_draw_png(study, name, folder / f"{name}.png") for name in names]
        if names and importlib.util.find_spec("plotly"):
            files.append(_write_page(study, names, folder / PAGE))
    return files


def _names(study: "optuna.Study") -> tuple[str, ...]:
    """The figures that say something of the study: of finished trials, and at least two for importances."""
    import optuna

    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not finished:
        return ()
    if len(study.directions) > 1:
        return ("pareto_front",)
    names = ["optimization_history"]
    if any(trial.params for trial in finished):
        names += ["slice", "parallel_coordinate"] + (["param_importances"] if len(finished) > 1 else [])
    return tuple(names)


def _draw_png(study: "optuna.Study", name: str, path: Path) -> Path:
    import matplotlib

    matplotlib.use("agg")  # Optuna draws by pyplot, which would ask for a window
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as figures

    try:
        _plot(figures, name)(study)
        figure = pyplot.gcf()
        figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")
    finally:
        pyplot.close("all")
    return path


def _write_page(study: "optuna.Study", names: Sequence[str], path: Path) -> Path:
    """All figures on one page, which holds plotly's script once (about 5 MB)."""
    from optuna import visualization

    parts = [
        _plot(visualization, name)(study).to_html(full_html=False, include_plotlyjs=position == 0)
        for position, name in enumerate(names)
    ]
    path.write_text(f"<!doctype html><html><head><meta charset='utf-8'></head><body>{''.join(parts)}</body></html>")
    return path


def _plot(module: Any, name: str) -> Callable[["optuna.Study"], Any]:
    plot: Callable[[optuna.Study], Any] = getattr(module, f"plot_{name}")
    return plot
