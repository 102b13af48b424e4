"""`ndcl export`: the selected models of a sweep."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import Results, SweepName, is_sweep_file, recorded_sweep, require_writable, to_go_on
from harness.records.places import DEFAULT_RESULTS, SWEEP_FILE
from harness.terminal.lines import say
from ndcl.errors import UserError


def export(
    name: SweepName,
    studies: Annotated[
        list[str] | None, typer.Option("--study", metavar="NAME", help="Repeatable; default: all studies.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Write DIR/<study> for each study.")] = None,
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="ensemble (of the final runs), best (of them), or seed-1 etc.")
    ] = "ensemble",
    best: Annotated[bool, typer.Option("--best", help="The same as --run best.")] = False,
    form: Annotated[
        Literal["safetensors", "onnx", "torch-export"], typer.Option("--format", help="Of the files under --to.")
    ] = "safetensors",
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log each as an MLflow model on its study's run.")] = False,
    register: Annotated[
        str | None, typer.Option("--register", metavar="MODEL", help="Also register the one --study under this name.")
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", metavar="ALIAS", help="Point this alias of MODEL to it, such as champion.")
    ] = None,
    old_data: Annotated[
        bool, typer.Option("--old-data", help="Also export models of a data set that was replaced since.")
    ] = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Export the model of each study of a sweep: as files, into MLflow, or both.

    It is the ensemble of the study's final runs, or where it has none the final run with the best objective on source
    domains; each at its best checkpoint.
    """
    from harness.config.commands import ndcl_command
    from harness.report.files import planned_studies
    from harness.state.selected_models import data_remarks, export_model, members_of, selected_models
    from ndcl.serving import Description

    _require_purpose(to, mlflow, register, alias, studies)
    if register is not None:
        from harness.tracking.models import require_names

        require_names(register, alias)
    if to is not None:
        require_writable("--to", to)
    folder, records = recorded_sweep(name, results)
    planned = planned_studies(folder, say=partial(say, error=True))
    top_k = max((study.top_k for study in planned), default=1)
    if best and run not in ("best", "ensemble"):
        raise UserError(f"--best and --run {run} name two models; leave one of them out")
    remedy = to_go_on(folder, _seeds_lacking(folder, run))
    selected = selected_models(records, top_k, studies, run="best" if best else run, remedy=remedy)
    trained = [member for record in selected for member in members_of(record, records)]
    for remark in data_remarks(folder, trained, _command(name, folder), old_data=old_data):
        say(f"ndcl: {remark}", error=True)
    made: list[Path] = []
    for record in selected:
        if to is not None:
            description = export_model(folder, record, records, to / record.study.name, form)
            say(f"{record.name}: {to / record.study.name}")
            made.append(to / record.study.name)
            if form == "safetensors" and description.sources is None:
                say(f"ndcl: {_WITHOUT_SOURCES}", error=True)
        if mlflow or register is not None:
            from harness.tracking.models import log_model

            say(f"{record.name}: {log_model(folder.parent, folder, record, records, register, alias)}")
    if made and Description.read(made[-1]).inputs.kind != "vectors":
        say(f"next: {ndcl_command('predict', made[-1], 'IMAGES...')}")


_WITHOUT_SOURCES = (
    "its data set is no longer there, so that the model holds nothing of its source domains for ndcl shift; export it "
    "again where the data are"
)


def _require_purpose(
    to: Path | None, mlflow: bool, register: str | None, alias: str | None, studies: list[str] | None
) -> None:
    """Raise UserError unless the options say what is to be done with which models."""
    if to is None and not mlflow and register is None:
        raise UserError("the models have no destination; give --to DIR, --mlflow or --register MODEL")
    if register is not None and len(studies or ()) != 1:
        raise UserError("--register: a name stands for one study's model; give exactly one --study")
    if alias is not None and register is None:
        raise UserError("--alias: an alias belongs to a registered model; also give --register MODEL")


def _seeds_lacking(folder: Path, run: str) -> list[str]:
    """What is to be set for the sweep to have the final run that is asked for."""
    from harness.config.commands import setting
    from harness.plan.sweep_file import recorded_values
    from harness.state.selected_models import seed_of

    seed, resolved = seed_of(run), recorded_values(folder)
    if seed is None or resolved is None or resolved["final"]["seeds"] >= max(seed, 1):
        return []
    return [setting("final.seeds", max(seed, 1))]


def _command(name: str, folder: Path) -> str:
    """By which the sweep, given by its name or its YAML file, was started."""
    from harness.config.commands import sweep_command

    file = name if is_sweep_file(name) else str(folder / SWEEP_FILE)
    return sweep_command(file, (), folder.parent)
