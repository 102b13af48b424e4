"""`ndcl deploy`: one model of a sweep for a site that nobody has labels for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Address, Quiet, Results, SweepName, recorded_sweep, require_writable, to_go_on
from harness.records.places import DEFAULT_RESULTS, SWEEP_FILE
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.records import TrialRecord
    from harness.state.deployment import Evidence, Problem


def deploy(
    name: SweepName,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Write the model, and its card, to this new folder.")],
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", metavar="NAME", help="Default: the best on unseen domains.")
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option("--setting", metavar="NAME", help="Of several imbalance settings; DATA.NAME: of data sets."),
    ] = None,
    results: Results = DEFAULT_RESULTS,
    address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Train the best algorithm of a sweep on all its labelled domains, and hand over one model with a model card.

    What each algorithm was worth on the domains left out chooses it; leave-one-domain-out over all of them chooses the
    values; final runs make the ensemble. Ctrl-C stops it cleanly, and the same command resumes.
    """
    from harness.config.commands import ndcl_command, sweep_command
    from harness.plan.sweep_file import recorded_values
    from harness.state.deployment import one_problem, study_without_target

    if to.exists():
        raise UserError(f"--to {to}: it exists already; delete it first, or give another folder")
    require_writable("--to", to)
    folder, records = recorded_sweep(name, results)
    resolved = recorded_values(folder)
    if resolved is None:
        again = sweep_command("SWEEP.yaml", (), results)
        raise UserError(
            f"{folder / SWEEP_FILE} is missing; the command that started the sweep writes it again: {again}"
        )
    problem = one_problem(records, setting)
    remedy = to_go_on(folder, () if resolved["final"]["seeds"] else WITH_SEEDS)
    chosen, evidence = _chosen(records, problem, int(resolved["final"]["top_k"]), algorithm, remedy)
    for each in evidence:
        mark = "  <- deployed" if each is chosen else ""
        say(f"{each.algorithm}: on domains that it had not seen {each.expected}{mark}")
    place, made = folder, records
    study = study_without_target(records, problem, chosen.algorithm)
    if study is None:
        place, made = _trained(folder, resolved, records, problem, chosen, address, quiet=quiet)
        study = study_without_target(made, problem, chosen.algorithm)
    assert study is not None, "a sweep without a target has a study without one"
    _hand_over(place, [record for record in made if record.study == study], to, chosen, evidence)
    say(f"model: {to}, with {CARD}")
    say(f"next: {ndcl_command('shift', to, 'PHOTOS...')}")
    say(f"next: {ndcl_command('predict', to, 'IMAGES...')}")


CARD = "MODEL_CARD.md"
WITH_SEEDS = ("final.seeds=5",)
"""What a sweep that has no final runs is continued with."""


def _chosen(
    records: "list[TrialRecord]", problem: "Problem", top_k: int, algorithm: str | None, remedy: str
) -> "tuple[Evidence, list[Evidence]]":
    """The algorithm that is deployed, and all that there is evidence of, the best first. Raises UserError."""
    from harness.state.deployment import evidence_of, without_evidence
    from ndcl.errors import unknown_name

    if (only := without_evidence(records, problem, algorithm)) is not None:
        return only, [only]
    evidence = evidence_of(records, problem, top_k, remedy)
    found = {each.algorithm: each for each in evidence}
    if algorithm is not None and algorithm not in found:
        raise unknown_name("algorithm", algorithm, found)
    return (found[algorithm] if algorithm is not None else evidence[0]), evidence


def _trained(
    folder: Path,
    resolved: dict[str, object],
    records: "list[TrialRecord]",
    problem: "Problem",
    chosen: "Evidence",
    address: str | None,
    *,
    quiet: bool,
) -> "tuple[Path, list[TrialRecord]]":
    """The folder and the records of the sweep that trains on all domains, once it has run."""
    from harness.cli.progress import Progress
    from harness.plan import make_plan
    from harness.plan.fit import require_fit
    from harness.plan.sweep_file import recorded_values
    from harness.state.deployment import SUFFIX, deploy_sweep
    from harness.sweep.prepare import refusal
    from harness.terminal.terminal import console_of

    earlier = recorded_values(folder.parent / f"{resolved['name']}{SUFFIX}")
    made = make_plan(deploy_sweep(resolved, records, problem, chosen.algorithm, earlier), folder.parent)
    if refusal(made):
        raise UserError(
            f"{made.folder} was trained for what sweep '{folder.name}' had found earlier; delete that folder, then "
            "deploy again"
        )
    if address is None:
        require_fit(made)
    sets = made.num_trainings("search")
    say(
        f"sweep {made.name}: {sets} {'set' if sets == 1 else 'sets'} of values by leave-one-domain-out, then "
        f"{made.num_trainings('final')} final runs on all domains"
    )
    from harness.sweep.run import run_sweep  # imports Ray, after the plan has been found right

    with Progress(console_of(error=True), quiet=quiet) as progress:
        result = run_sweep(made, progress, address=address)
    for line in result.problems:
        say(line)
    if result.problems:
        raise typer.Exit(1)
    return made.folder, result.records


def _hand_over(
    folder: Path, records: "list[TrialRecord]", to: Path, chosen: "Evidence", evidence: "list[Evidence]"
) -> None:
    """Export the study's model, with the card. Raises UserError as `export` does."""
    from harness.state.model_card import expected_of, model_card
    from harness.state.selected_models import ENSEMBLE, export_model, selected_models

    [record] = selected_models(records, 1, run=ENSEMBLE, remedy=to_go_on(folder))
    description = export_model(folder, record, records, to, "safetensors", {"expected": expected_of(chosen)})
    (to / CARD).write_text(model_card(description, record, chosen, evidence), encoding="utf-8")
