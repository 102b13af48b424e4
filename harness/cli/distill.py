"""`ndcl distill`: one network in place of a study's ensemble."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Quiet, Results, SweepName, recorded_sweep, require_writable, to_go_on
from harness.cli.train import evaluation_line
from harness.records.places import DEFAULT_RESULTS, SWEEP_FILE
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.records import TrialRecord
    from harness.state.distillation import Worth
    from harness.terminal.table import Table
    from ndcl.evaluation import Evaluation


def distill(
    name: SweepName,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Write DIR/<study> for each study.")],
    studies: Annotated[
        list[str] | None, typer.Option("--study", metavar="NAME", help="Repeatable; default: all studies.")
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", min=0.1, max=100, help="Of the soft targets; 1: as they are.")
    ] = 2.0,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Default: as many as a final run has.")
    ] = None,
    results: Results = DEFAULT_RESULTS,
    quiet: Quiet = False,
) -> None:
    """Train one network to answer as a study's ensemble does, on images of its source domains, and write it as a model.

    For those who can't pay for several networks an image. The same command resumes a training that was stopped.
    """
    from harness.config.commands import ndcl_command, sweep_command
    from harness.plan.sweep_file import recorded_values
    from harness.report.files import planned_studies
    from harness.state.distillation import ensembles_of, lacking_settings, worths_of
    from harness.state.selected_models import data_remarks, members_of
    from harness.terminal.terminal import console_of

    require_writable("--to", to)
    folder, records = recorded_sweep(name, results)
    top_k = max((study.top_k for study in planned_studies(folder, say=partial(say, error=True))), default=1)
    resolved = recorded_values(folder)
    lacking = lacking_settings(resolved["final"]) if resolved else ()
    found = ensembles_of(records, top_k, studies, to_go_on(folder, lacking))
    for record in found:
        if (to / record.study.name).exists():
            raise UserError(f"--to: {to / record.study.name} exists already; delete it first, or give another folder")
    trained = [member for record in found for member in members_of(record, records)]
    command = sweep_command(str(folder / SWEEP_FILE), (), folder.parent)
    for remark in data_remarks(folder, trained, command):
        say(f"ndcl: {remark}", error=True)
    for record in found:
        student = _distilled(folder, record, records, to / record.study.name, temperature, steps, quiet=quiet)
        console_of().print(_table(record, worths_of(record, records, student)))
        say(f"model: {to / record.study.name}")
    say(f"next: {ndcl_command('predict', to / found[-1].study.name, 'IMAGES...')}")


def _distilled(
    folder: Path,
    record: "TrialRecord",
    records: "list[TrialRecord]",
    to: Path,
    temperature: float,
    steps: int | None,
    *,
    quiet: bool,
) -> "Evaluation":
    """Train the student of one study, and write it."""
    from harness.state.distillation import distillation_of, export_student, student_folder, teachers_of
    from ndcl.checkpoints import checkpoint_folder
    from ndcl.training.build import resumed

    training = distillation_of(teachers_of(folder, record, records), temperature, steps)
    place = student_folder(folder, record, temperature, steps)
    for evaluation in resumed(training, place):
        if not quiet:
            say(f"{record.study.name}: {evaluation_line(evaluation.to_dict(), training.config.num_steps)}", error=True)
    student = training.best_evaluation()
    facts = {"temperature": temperature, "num_steps": training.config.num_steps, "seed": training.config.seed}
    with checkpoint_folder(place).fetched(training.step) as checkpoint:
        export_student(folder, record, checkpoint, student, to, facts)
    return student


def _table(record: "TrialRecord", worths: "list[Worth]") -> "Table":
    from harness.state.distillation import TARGET
    from harness.terminal.numbers import percent
    from harness.terminal.table import Table

    unseen = f"on {record.study.target}" if record.has_target else "unseen"
    table = Table(title=f"{record.study.title}: accuracy")
    table.add_column("model", "text")
    for column in ("on sources", *(f"{unseen}, {name}" for name in TARGET)):
        table.add_column(column)
    for worth in worths:
        values = (worth.source, *worth.target.values())
        table.add_row(worth.model, *("-" if value is None else percent(value) for value in values))
    return table
