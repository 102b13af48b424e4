"""The card of a deployed model: what it was trained on, and what may be expected of it (Mitchell et al. 2019). Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.records import TrialRecord, best_checkpoint
from harness.state.deployment import Evidence

if TYPE_CHECKING:
    from ndcl.serving import Description


def expected_of(evidence: Evidence) -> dict[str, Any]:
    """What model.json keeps of it: accuracies on unseen domains, as fractions."""
    return {
        "accuracy_on_unseen_domains": dict(evidence.accuracies),
        "mean": evidence.mean,
        "calibration_error": evidence.calibration_error,
    }


def model_card(description: "Description", record: TrialRecord, chosen: Evidence, evidence: Sequence[Evidence]) -> str:
    """Markdown."""
    origin, best = description.origin, best_checkpoint(record) or {}
    validation = best.get("validation", {})
    data, config = origin["data"], origin["config"]
    seeds = origin.get("seeds") or [config["seed"]]
    lines = [
        f"# Model of {data['name']} for a new domain",
        "",
        f"{chosen.algorithm} with {description.model.backbone}, "
        f"{_form(description)} (seeds {', '.join(map(str, seeds))}), "
        f"trained on all {len(validation)} labelled domains: {', '.join(validation)}.",
        "",
        "## What to expect",
        "",
        *_expectation(chosen, evidence, list(validation)),
        "",
        f"On validation images of the domains that it was trained on: {_percent(best.get('validation_accuracy'))}. "
        "That is no estimate for a new domain.",
        "",
        _calibration(chosen, description.temperature),
        "",
        "## Classes",
        "",
        ", ".join(description.classes),
        "",
        "## Made from",
        "",
        f"- data set {data['name']}, digest {data['digest']}",
        f"- sweep {origin.get('sweep')}, study {origin.get('study')}, values {record.values or 'fixed by the sweep'}",
        f"- ndcl {origin['ndcl']}, torch {origin['torch']}, git revision {origin.get('git_revision') or 'unknown'}",
        "",
    ]
    return "\n".join(lines)


def _form(description: "Description") -> str:
    if description.members:
        return f"an ensemble of {len(description.members.models)} networks"
    return "the averaged weights of several networks" if "averaged" in description.origin else "one network"


def _expectation(chosen: Evidence, evidence: Sequence[Evidence], domains: Sequence[str]) -> list[str]:
    """What the domains left out tell of another one; `domains` are those that the model was trained on."""
    measured = list(chosen.accuracies)
    if not measured:
        return ["On a domain that it has not seen: **not known**. No domain was left out, to be measured on."]
    expected = chosen.expected if len(measured) > 1 else _percent(chosen.mean)
    how = "Each domain was left out once, and a model trained on the others"
    if set(measured) != set(domains):
        how = f"Measured on {' and '.join(measured)} alone, with a model trained on the other domains"
    return [
        "On a domain that it has not seen, if that differs from these as they differ from each other, expect an "
        f"accuracy of **{expected}**. {how}:",
        "",
        f"| left out | {' | '.join(['accuracy', *(e.algorithm for e in evidence if e is not chosen)])} |",
        "| --- | ---: |" + " ---: |" * (len(evidence) - 1),
        *(_row(target, chosen, evidence) for target in measured),
    ]


def _row(target: str, chosen: Evidence, evidence: Sequence[Evidence]) -> str:
    others = [each.accuracies[target] for each in evidence if each is not chosen]
    return f"| {target} | {' | '.join(map(_percent, [chosen.accuracies[target], *others]))} |"


def _calibration(chosen: Evidence, temperature: float) -> str:
    if chosen.calibration_error is None:
        return "Whether its probabilities can be taken at their word on a new domain is not known."
    return (
        f"Its probabilities are calibrated on the labelled domains (temperature {temperature:.2f}); on those left out "
        f"confidence and accuracy were {100 * chosen.calibration_error:.0f} points apart on average."
    )


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.0f} %"
