"""What MLflow is told of trials and studies: metrics, tags and descriptions. Pure."""

from statistics import fmean
from typing import Any

from harness.progress import percent
from harness.records import TrialRecord
from harness.revision import DIRTY
from harness.selection import best_checkpoint, criteria, shown_value
from harness.study_state import StudyState
from harness.sweep_state import SweepState

Point = tuple[str, float, int, int]
"""A metric's name, its value, when in milliseconds since the epoch, and the step."""
MARKER = "validation_accuracy"
"""Logged last: a step that has it has all its metrics."""
ACCURACIES = ("overall", "balanced", "worst_class", "many", "median", "few", "zero")
OBJECTIVES = (
    "worst_domain_accuracy",
    "few_shot_accuracy",
    "leave_one_domain_out_accuracy",
    "oracle_accuracy",
)
"""What can be maximised, beside MARKER."""
NOTE = "mlflow.note.content"
"""Tag that MLflow shows as the description of a run or an experiment, as Markdown."""

MAX_ROWS = 60
"""Studies in a description, of which MLflow limits the length."""


def points(record: TrialRecord, evaluation: dict[str, Any]) -> list[Point]:
    """An evaluation's metrics, the marker last, at a time that every attempt to log them agrees on."""
    time_ms = int((record.started + evaluation["seconds"]) * 1000)
    classes = record.environment.get("data", {}).get("classes")
    metrics = evaluation_metrics(evaluation, classes)
    found = [(key, value, time_ms, evaluation["step"]) for key, value in metrics.items()]
    return sorted(found, key=lambda point: point[0] == MARKER)


def evaluation_metrics(evaluation: dict[str, Any], classes: list[str] | None = None) -> dict[str, float]:
    """An evaluation's numbers by metric name: `validation/<domain>/few`, `target/overall`, `losses/total`.

    `target/per_class/<class>` is a class's accuracy on the target, `validation/per_class/<class>` its mean over source
    domains; without the names in `classes` they have the ids of classes.
    """
    metrics = {name: evaluation[name] for name in (MARKER, *OBJECTIVES, "seconds")}
    metrics |= {f"losses/{name}": value for name, value in evaluation["losses"].items()}
    metrics |= {f"system/{name}": value for name, value in evaluation.get("system", {}).items()}
    parts = {f"validation/{domain}": part for domain, part in evaluation["validation"].items()}
    parts |= {f"held_out/{domain}": part for domain, part in (evaluation["held_out"] or {}).items()}
    for where, part in {**parts, "target": evaluation["target"], "oracle": evaluation["oracle"]}.items():
        metrics.update({f"{where}/{name}": part[name] for name in ACCURACIES} if part else {})
    for where, per_class in per_class_accuracies(evaluation).items():
        names = classes or [f"{k:03d}" for k in range(len(per_class))]
        named = zip(names, per_class, strict=True)
        metrics |= {f"{where}/per_class/{name.replace('/', '_')}": value for name, value in named}
    return {_valid_name(name): float(value) for name, value in metrics.items() if value is not None}


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


def study_tags(state: StudyState) -> dict[str, str]:
    """What is known of the study, as tags: the best trial and its values."""
    tags = {"stage": state.stage, NOTE: study_note(state), **ratio_tag(state.ratio)}
    if state.reason:
        tags["failure_reason"] = state.reason
    if state.best:
        tags |= environment_tags(state.best.environment)
        tags["selected_trial" if state.is_selected else "best_trial"] = state.best.name
        tags |= {f"best.{key}": str(value) for key, value in state.best.values.items()}
    return tags


def trial_note(record: TrialRecord) -> str:
    """A trial's description."""
    study, kind = record.study, "Search trial" if record.stage == "search" else "Final run"
    lines = [
        f"{kind} {record.number} of `{study.name}`: **{record.state}** at step {record.step} of "
        f"{record.config['num_steps']}{f' ({record.reason})' if record.reason else ''}.",
    ]
    best = best_checkpoint(record)
    if best is not None:
        lines.append(f"Best checkpoint: step {best['step']}, {' and '.join(criteria(record))} {_shown(record)}.")
    if record.values:
        lines.append("\n".join(["| searched | value |", "| --- | --- |", *_rows(record.values)]))
    return "\n\n".join(lines)


def study_note(state: StudyState) -> str:
    """A study's description."""
    key = state.key
    counts = ", ".join(f"{number} {name}" for name, number in sorted(state.counts.items())) or "none yet"
    lines = [
        f"**{key.algorithm}** on {key.dataset}, setting {key.setting}; never trained on: **{key.target}**.",
        f"Stage: {state.stage}{f' ({state.reason})' if state.reason else ''}. "
        f"Trainings: {state.num_ended} of {state.num_planned} ended ({counts}).",
    ]
    if state.best:
        word = "Selected" if state.is_selected else "Best so far"
        lines.append(f"{word}: `{state.best.name}`, {' and '.join(criteria(state.best))} {_shown(state.best)}.")
        lines.append("\n".join(["| searched | value |", "| --- | --- |", *_rows(state.best.values)]))
    if "final/num_seeds" in state.metrics:
        lines.append(_final_line(state.metrics))
    return "\n\n".join(lines)


def _final_line(metrics: dict[str, float]) -> str:
    names = {"overall": "overall", "balanced": "class-balanced", "few": "few-shot"}
    values = {word: metrics.get(f"final/target/{name}") for name, word in names.items()}
    shown = ", ".join(f"{word} {percent(value)}" for word, value in values.items() if value is not None)
    return f"Accuracy on the unseen domain, mean of {metrics['final/num_seeds']:.0f} final runs: {shown}."


def sweep_note(state: SweepState) -> str:
    """The description of a sweep's own run, and of its experiment."""
    shown, left = state.studies[:MAX_ROWS], len(state.studies[MAX_ROWS:])
    header = "| study | stage | trainings | objective | unseen domain, overall |"
    return "\n\n".join(
        [
            f"Sweep `{state.name}`: {len(state.studies)} studies. A study's run holds its trials and final runs; "
            f"the run `{state.name}` holds the report.",
            "\n".join([header, "| --- | --- | --- | --- | --- |", *map(_study_row, shown)]),
            *([f"and {left} more."] if left else []),
            "Filter: `tags.algorithm = 'ndcl' and tags.stage = 'final'`, `tags.selected = 'true'`, "
            "`tags.pruned = 'true'`, `tags.target = '...'`.",
        ]
    )


def _study_row(state: StudyState) -> str:
    overall = state.metrics.get("final/target/overall")
    best = _shown(state.best) if state.best else "-"
    shown = "-" if overall is None else percent(overall)
    return f"| {state.key.name} | {state.stage} | {state.num_ended}/{state.num_planned} | {best} | {shown} |"


def _shown(record: TrialRecord) -> str:
    value = shown_value(record)
    return "-" if value is None else percent(value)


def _rows(values: dict[str, Any]) -> list[str]:
    return [
        f"| {key} | {f'{value:.4g}' if isinstance(value, float) else value} |" for key, value in sorted(values.items())
    ]


def _truth(value: bool) -> str:
    return str(value).lower()


def _valid_name(name: str) -> str:
    """MLflow allows letters, digits and `_-./: ` in the names of metrics."""
    return "".join(c if c.isalnum() or c in "_-./: " else "_" for c in name)
