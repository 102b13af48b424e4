"""The plan of a sweep that has been started, from its folder's sweep.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.config import SweepConfig
from harness.config.commands import ndcl_command
from harness.config.strict import first_error
from harness.plan.plan import Plan, plan_of
from harness.plan.studies import studies_of
from harness.plan.sweep_file import recorded_values
from harness.records.places import SWEEP_FILE
from ndcl.algorithm_configs import ALGORITHM_CONFIGS, is_own
from ndcl.errors import UserError


def recorded_plan(folder: Path) -> Plan | None:
    """What the file of the sweep in `folder` says, without a look at the data; None if there is no file.

    Raises UserError if the file is damaged, and as `planned_by` does.
    """
    resolved = recorded_values(folder)
    return None if resolved is None else planned_by(resolved, folder)


def planned_by(resolved: Mapping[str, Any], folder: Path) -> Plan:
    """What the values in the file of the sweep in `folder` say.

    Raises UserError if this code doesn't know what they name: the file, what is unknown, and what to do.
    """
    try:
        config = SweepConfig.model_validate(_as_begun(resolved))
        return plan_of(config, studies_of(config), folder.parent)
    except ValidationError as error:
        reason = first_error(error, resolved)
    except UserError as error:
        reason = str(error)
    look = ndcl_command("report", folder.name, results=folder.parent)
    unknown = [repr(name) for name in algorithms_in(resolved) if name not in ALGORITHM_CONFIGS and not is_own(name)]
    if unknown:
        known_by = "the code that has it" if len(unknown) == 1 else "the code that has them"
        raise UserError(
            f"{folder / SWEEP_FILE}: this code knows no algorithm {', '.join(unknown)}; run {known_by} (the records in "
            f"{folder / 'trials'} hold its git_revision), or look at its trials with: {look}"
        )
    if any(is_own(name) and f"'{name}'" in reason for name in algorithms_in(resolved)):
        raise UserError(f"{folder / SWEEP_FILE}: {reason}")
    raise UserError(
        f"{folder / SWEEP_FILE} was written by another version of ndcl ({reason}); use that version, or look at its "
        f"trials with: {look}"
    )


def _as_begun(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The values with what a later version has added as it was before: without an ensemble of the final runs.

    Whoever starts the sweep again gets one.
    """
    final = resolved.get("final")
    return dict(resolved) if final is None else {**resolved, "final": {"ensemble": "none", **final}}


def algorithms_in(resolved: Mapping[str, Any]) -> list[str]:
    """Names of the algorithms that a resolved sweep trains, known or not."""
    entries = resolved.get("algorithms")
    if not isinstance(entries, dict):
        return []
    return [str((isinstance(spec, dict) and spec.get("algorithm")) or label) for label, spec in entries.items()]
