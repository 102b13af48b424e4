"""What MLflow receives of trials and studies: metrics, tags and descriptions. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

from harness.records import TrialRecord, best_checkpoint
from harness.records.ensemble import refused_weights
from harness.records.record import AVERAGED
from harness.records.revision import DIRTY
from harness.records.selection import criteria, shown_value
from harness.state import StudySummary
from harness.terminal.markdown import literal
from harness.terminal.numbers import percent
from harness.tracking.items import SweepSummary
from harness.tracking.names import MAX_TEXT_LENGTH, RunNames, distinct_parts, valid_key
from ndcl.criteria import DEFAULT_OBJECTIVE, OBJECTIVES

Point = tuple[str, float, int, int]
"""A metric's name, its value, when in milliseconds since the epoch, and the step."""
MARKER = DEFAULT_OBJECTIVE
"""Logged last: a step that has it has all its metrics."""
TARGET, TARGET_MARKER = "target", "target/overall"
"""The beginning of all metrics on the unseen domain, and the one that each look at it has."""
ACCURACIES = ("overall", "balanced", "worst_class", "many", "median", "few", "zero")
NOTE = "mlflow.note.content"
"""Tag that MLflow shows as the description of a run or an experiment, as Markdown."""

NUM_SEEDS = "final/num_seeds"
"""Among the metrics of a study's state; in MLflow a tag, since there is nothing in it to compare."""
KINDS = {"search": "Search trial", "review": "Second look", "final": "Final run", "ensemble": "Ensemble"}
"""What the description of a run calls it, by the stage of its record."""
MAX_TABLE_LENGTH = MAX_TEXT_LENGTH - 1000
"""Characters of a table in a description, of which MLflow limits the length."""


def points(record: TrialRecord, evaluation: dict[str, Any]) -> list[Point]:
    """An evaluation's metrics, the marker last, at a time that every attempt to log them agrees on."""
    time_ms = int((record.started + evaluation["seconds"]) * 1000)
    facts = record.environment.get("data", {})
    metrics = evaluation_metrics(evaluation, facts.get("classes"), facts.get("domains"))
    found = [(key, value, time_ms, evaluation["step"]) for key, value in metrics.items()]
    return sorted(found, key=lambda point: point[0] == MARKER)


def evaluation_metrics(
    evaluation: dict[str, Any], classes: Sequence[str] | None = None, domains: Sequence[str] | None = None
) -> dict[str, float]:
    """An evaluation's numbers by metric name: `validation/<domain>/few`, `target/overall`, `losses/total`.

    `target/per_class/<class>` is a class's accuracy on the target, `validation/per_class/<class>` its mean over source
    domains; without the names in `classes` they have the ids of classes. Names are changed as far as MLflow asks for
    it, with respect to all `domains` of the data set, so that a domain has one name in all studies.
    """
    named = distinct_parts([*(domains or ()), *evaluation["validation"], *(evaluation["held_out"] or {})])
    metrics = {name: evaluation.get(name) for name in (*OBJECTIVES, "seconds")}  # early versions lack some
    metrics |= {f"losses/{name}": value for name, value in evaluation["losses"].items()}
    metrics |= {f"system/{name}": value for name, value in evaluation.get("system", {}).items()}
    parts = {f"validation/{named[domain]}": part for domain, part in evaluation["validation"].items()}
    parts |= {f"held_out/{named[domain]}": part for domain, part in (evaluation["held_out"] or {}).items()}
    losses = evaluation.get("held_out_nll") or {}
    metrics |= {f"held_out/{named[domain]}/nll": value for domain, value in losses.items()}
    for where, part in {**parts, "target": evaluation["target"], "oracle": evaluation["oracle"]}.items():
        metrics.update({f"{where}/{name}": part[name] for name in ACCURACIES} if part else {})
    for where, per_class in per_class_accuracies(evaluation).items():
        names = classes or [f"{k:03d}" for k in range(len(per_class))]
        shown = distinct_parts(names)
        metrics |= {f"{where}/per_class/{shown[name]}": part for name, part in zip(names, per_class, strict=True)}
    return {valid_key(name): float(value) for name, value in metrics.items() if value is not None}


def changed_names(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The domains and classes of a data set whose names in metrics are others, by these; empty if none is."""
    found = {kind: distinct_parts(facts.get(kind, ())) for kind in ("domains", "classes")}
    changed = {kind: {shown: name for name, shown in each.items() if shown != name} for kind, each in found.items()}
    return {kind: each for kind, each in changed.items() if each}


def per_class_accuracies(evaluation: dict[str, Any]) -> dict[str, list[float | None]]:
    """By class id, on the `target` and as the mean over source domains' `validation` images."""
    columns = zip(*(part["per_class"] for part in evaluation["validation"].values()), strict=True)
    present = [[value for value in column if value is not None] for column in columns]
    return {
        "validation": [fmean(values) if values else None for values in present],
        "target": list(evaluation["target"]["per_class"]),
    }


def trial_tags(record: TrialRecord) -> dict[str, str]:
    """What the record says beyond numbers, as tags."""
    tags = {
        "state": record.state,
        "pruned": _truth(record.state == "pruned"),
        "seed": str(record.config["seed"]),
        "attempts": str(record.attempts),
        NOTE: trial_note(record),
    }
    tags |= ratio_tag(record.config["imbalance"]["ratio"]) | environment_tags(record.environment)
    if record.checkpoint:
        tags["checkpoint"] = record.checkpoint
    if record.reason:
        tags["failure_reason" if record.state == "failed" else "reason"] = record.reason
    return tags


def environment_tags(environment: dict[str, Any]) -> dict[str, str]:
    """Of what is known of where a trial ran and what it learned from."""
    revision, data = environment.get("git_revision"), environment.get("data", {})
    known = {
        "git_revision": revision and revision.removesuffix(DIRTY),
        "git_dirty": revision and _truth(revision.endswith(DIRTY)),
        "cluster": environment.get("cluster"),
        "host": environment.get("host"),
        "data_digest": data.get("digest"),
    }
    return {key: value for key, value in known.items() if value}


def ratio_tag(ratio: float | None) -> dict[str, str]:
    """The imbalance ratio, where a setting has one."""
    return {} if ratio is None else {"ratio": f"{ratio:g}"}


def study_metrics(state: StudySummary) -> dict[str, float]:
    """The results of a study, in single values."""
    return {name: value for name, value in state.metrics.items() if name != NUM_SEEDS}


def study_tags(state: StudySummary) -> dict[str, str]:
    """What is known of the study, as tags: the best trial and its values."""
    tags = {"stage": state.stage, NOTE: study_note(state), **ratio_tag(state.ratio)}
    if state.reason:
        tags["failure_reason"] = state.reason
    if NUM_SEEDS in state.metrics:
        tags["final_runs"] = f"{state.metrics[NUM_SEEDS]:.0f}"
    if state.best:
        tags |= environment_tags(state.best.environment)
        tags["selected_trial" if state.is_selected else "best_trial"] = state.best.name
        tags |= {f"best.{key}": str(value) for key, value in state.best.values.items()}
    return tags


def trial_note(record: TrialRecord) -> str:
    """A trial's description."""
    study, kind = record.study, KINDS[record.stage]
    lines = [
        f"{kind} {record.number} of `{study.name}`: **{record.state}** at step {record.step} of "
        f"{record.config['num_steps']}{f' ({literal(record.reason)})' if record.reason else ''}.",
    ]
    best = best_checkpoint(record)
    if best is not None:
        lines.append(f"Best checkpoint: step {best['step']}, {' and '.join(criteria(record))} {_shown(record)}.")
    lines += _form_of(record)
    if record.values:
        lines.append("\n".join(["| searched | value |", "| --- | --- |", *_rows(record.values)]))
    return "\n\n".join(lines)


def _form_of(record: TrialRecord) -> list[str]:
    """What an ensemble whose weights were to be averaged has become."""
    if not record.notes.get(AVERAGED) or best_checkpoint(record) is None:
        return []
    refused = refused_weights(record)
    if refused is None:
        return ["One network: the mean of its members' weights."]
    return [
        f"An ensemble: the mean of its members' weights has {percent(refused['value'])} "
        f"{' and '.join(refused['criteria'])}, the members {percent(refused['members'])} on average."
    ]


def study_note(state: StudySummary) -> str:
    """A study's description."""
    key = state.key
    counts = ", ".join(f"{number} {name}" for name, number in sorted(state.counts.items())) or "none yet"
    lines = [
        f"**{key.algorithm}** on {literal(key.dataset)}, setting {literal(key.setting)}; "
        f"never trained on: **{literal(key.target)}**.",
        f"Stage: {state.stage}{f' ({literal(state.reason)})' if state.reason else ''}. "
        f"Trainings: {state.num_ended} of {state.num_planned} ended ({counts}).",
    ]
    if state.best:
        word = "Selected" if state.is_selected else "Best so far"
        lines.append(f"{word}: `{state.best.name}`, {' and '.join(criteria(state.best))} {_shown(state.best)}.")
        lines.append("\n".join(["| searched | value |", "| --- | --- |", *_rows(state.best.values)]))
    if NUM_SEEDS in state.metrics:
        lines.append(_final_line(state.metrics))
    return "\n\n".join(lines)


def _final_line(metrics: dict[str, float]) -> str:
    names = {"overall": "overall", "balanced": "class-balanced", "few": "few-shot"}
    values = {word: metrics.get(f"final/target/{name}") for name, word in names.items()}
    shown = ", ".join(f"{word} {percent(value)}" for word, value in values.items() if value is not None)
    return f"Accuracy on the unseen domain, mean of {metrics[NUM_SEEDS]:.0f} final runs: {shown}."


def sweep_note(state: SweepSummary) -> str:
    """The description of a sweep's own run, and of its experiment."""
    names = RunNames(study.key for study in state.studies)
    header = "| unseen domain · algorithm | stage | trainings | objective | unseen domain, overall |"
    rows, left = _fitting([_study_row(study, names) for study in state.studies])
    return "\n\n".join(
        [
            f"Sweep `{state.name}`: {len(state.studies)} studies. A study's run holds its trials and final runs; "
            f"the run `{state.name}` holds the report.",
            "\n".join([header, "| --- | --- | --- | --- | --- |", *rows]),
            *([f"and {left} more."] if left else []),
            "Filter: `tags.algorithm = 'ndcl' and tags.stage = 'final'`, `tags.selected = 'true'`, "
            "`tags.pruned = 'true'`, `tags.target = '...'`.",
        ]
    )


def _fitting(rows: list[str]) -> tuple[list[str], int]:
    """As many rows as a description has room for, and the number of the others."""
    ends = accumulate(len(row) + 1 for row in rows)
    fitting = sum(end <= MAX_TABLE_LENGTH for end in ends)
    return rows[:fitting], len(rows) - fitting


def _study_row(state: StudySummary, names: RunNames) -> str:
    overall = state.metrics.get("final/target/overall")
    best = _shown(state.best) if state.best else "-"
    shown = "-" if overall is None else percent(overall)
    name = names.of_study(state.key).replace("|", "\\|")
    return f"| {name} | {state.stage} | {state.num_ended}/{state.num_planned} | {best} | {shown} |"


def _shown(record: TrialRecord) -> str:
    value = shown_value(record)
    return "-" if value is None else percent(value)


def _rows(values: dict[str, Any]) -> list[str]:
    return [
        f"| {literal(key)} | {f'{value:.4g}' if isinstance(value, float) else literal(str(value))} |"
        for key, value in sorted(values.items())
    ]


def _truth(value: bool) -> str:
    return str(value).lower()
