"""Which final runs of a study make up its ensemble, and which record tells what that is worth. Pure."""

from collections.abc import Sequence
from typing import Any

from harness.records.record import TrialRecord
from harness.records.selection import best_checkpoint, chosen_finals, select


def ensemble_members(records: Sequence[TrialRecord], top_k: int, num_trials: int | None) -> list[TrialRecord]:
    """The final runs that one study's ensemble combines, in order of their trials and seeds; none of fewer than two.

    `records` are all of the study, of which the best `top_k` search trials were repeated. With `num_trials` None the
    members are the finished final runs of the values that the study settles on; else those of its best `num_trials`.
    """
    if num_trials is None:
        members = chosen_finals(records, top_k)
    else:
        members = [
            record for best in select(records, num_trials) for record in chosen_finals(_repeating(records, best), 1)
        ]
    return members if len(members) > 1 else []


def _repeating(records: Sequence[TrialRecord], best: TrialRecord) -> list[TrialRecord]:
    """A search trial, and the final runs that repeat it."""
    return [best, *(record for record in records if record.stage == "final" and record.recipe == best.recipe)]


def shown_ensemble(records: Sequence[TrialRecord], top_k: int) -> TrialRecord | None:
    """The newest finished ensemble among one study's `records`; None before there is one.

    One that lacks a final run by which the study is judged now, such as that of a new seed, counts no more.
    """
    judged = {record.name for record in chosen_finals(records, top_k)}
    found = [
        record
        for record in records
        if record.stage == "ensemble" and record.state == "finished" and judged <= set(record.members)
    ]
    return max(found, key=lambda record: record.number, default=None) if judged else None


def refused_weights(record: TrialRecord) -> dict[str, Any] | None:
    """Of an ensemble in place of averaged weights, which were worse on source domains: by which `criteria`, their
    `value`, and that of the `members` on the mean. None where the weights are averaged, or were not to be.
    """
    about: dict[str, Any] = (best_checkpoint(record) or {}).get("ensemble", {}).get("averaged_weights", {})
    return about if about and not about["is_kept"] else None
