"""`ndcl train`: one training, without a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Fresh, Quiet, Results, Settings
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say
from ndcl.criteria import DEFAULT_OBJECTIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ndcl.config import TrainConfig


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="One training: the keys of a TrainConfig.")],
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that train together.")] = 1,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Train once, in this process or on several workers; the same command resumes a training that was stopped."""
    from harness.plan.checks import buildable
    from harness.records.sweep_files import json_of
    from harness.storage import writable
    from harness.storage.folder import alone
    from harness.trials.own_faults import explained
    from harness.trials.standalone import ANEW, EVALUATIONS, load_training, looked_at
    from ndcl.unreached import unreached

    loaded = load_training(config, settings or ())
    folder = results / "train" / config.stem
    for key, what in unreached(loaded).items():
        say(f"warning: {key}: {what}", error=True)
    begun = (folder / EVALUATIONS).exists() and not fresh
    buildable(loaded, may_have_unused=begun, on_several=workers > 1)
    in_use = f"{folder} is being trained by another process; wait for it, or train elsewhere by --results"
    with writable(folder), alone(folder.with_name(f".{folder.name}.lock"), in_use), explained(loaded.algorithm.name):
        for line in () if fresh else looked_at(loaded, folder):
            say(f"warning: {line}", error=True)
        for evaluation in _trained(loaded, folder, workers, fresh):
            if not quiet:
                say(evaluation_line(evaluation, loaded.num_steps), error=True)
    say(result_line(json_of(folder / EVALUATIONS, ANEW), loaded.select_by))
    say(f"checkpoint and evaluations: {folder}")


def _trained(config: "TrainConfig", folder: Path, workers: int, fresh: bool) -> "Iterator[dict[str, Any]]":
    if workers == 1:
        from harness.trials.standalone import run_training

        return run_training(config, folder, fresh=fresh)
    from harness.trials.standalone_workers import run_on_workers  # imports Ray

    return run_on_workers(config, folder, workers, fresh=fresh)


def evaluation_line(evaluation: dict[str, Any], num_steps: int) -> str:
    """`step 50/300: loss 1.203, validation 43.3 %`."""
    from harness.terminal.numbers import percent

    loss = evaluation["losses"].get("total")
    shown = "" if loss is None else f"loss {loss:.4g}, "
    return f"step {evaluation['step']}/{num_steps}: {shown}validation {percent(evaluation[DEFAULT_OBJECTIVE])}"


def result_line(evaluations: Sequence[dict[str, Any]], criteria: Sequence[str] = (DEFAULT_OBJECTIVE,)) -> str:
    """The result of a single training, at its best checkpoint by the criteria."""
    from harness.records.selection import merit
    from harness.terminal.numbers import percent

    valued = [evaluation for evaluation in evaluations if evaluation[DEFAULT_OBJECTIVE] is not None]
    if not valued:
        return "no evaluation has a validation accuracy"
    best = max(valued, key=lambda evaluation: merit(evaluation, criteria))
    target = best["target"]["overall"]
    looked = "" if target is None else f", target {percent(target)}"
    return f"best checkpoint: step {best['step']}, validation {percent(best[DEFAULT_OBJECTIVE])}{looked}"
