"""The model for a site that nobody has labels for: which algorithm it takes, and what may be expected of it. Pure.

Each study of a sweep left one labelled domain out. For a new site all of these are sources, so that what the models of
the studies are worth on their own unseen domains is leave-one-domain-out evidence: it chooses the algorithm, and tells
how far apart new domains can be.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from harness.config import SweepConfig
from harness.config.strict import first_error
from harness.records import StudyKey, TrialRecord, best_checkpoint, chosen_finals
from harness.records.ensemble import shown_ensemble
from ndcl.config import NO_TARGET
from ndcl.criteria import LEAVE_ONE_DOMAIN_OUT
from ndcl.errors import UserError, unknown_name

Problem = tuple[str, str]
"""Data set and imbalance setting."""
SUFFIX = "-deploy"
"""After a sweep's name, and before the algorithm's: the sweep that trains on all domains."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one algorithm's models were worth on the domains that they had not seen."""

    algorithm: str
    accuracies: Mapping[str, float]
    """Overall, as fractions, by unseen domain: of the ensemble, or else the mean of the final runs."""
    calibration_error: float | None
    """Mean expected calibration error there, with the temperature that source domains give; None: unknown."""

    @property
    def mean(self) -> float | None:
        """Over the domains; None if none was left out."""
        return fmean(self.accuracies.values()) if self.accuracies else None

    @property
    def expected(self) -> str:
        """`24 to 74 %, mean 55 %`, or of one domain `55 %, of a single domain`."""
        if self.mean is None:
            return "no accuracy is known, since none was left out"
        low, high = (f"{100 * pick(self.accuracies.values()):.0f}" for pick in (min, max))
        if len(self.accuracies) == 1:
            return f"{low} %, of a single domain"
        if low == high:
            return f"{low} % ({len(self.accuracies)} domains)"
        return f"{low} to {high} %, mean {100 * self.mean:.0f} %"


def problems_of(records: Sequence[TrialRecord]) -> list[Problem]:
    """The data sets and settings that the sweep has studies of, in their order."""
    return list(dict.fromkeys((record.study.dataset, record.study.setting) for record in records))


def one_problem(records: Sequence[TrialRecord], setting: str | None) -> Problem:
    """The only data set and setting, or the one of the setting that is named; of several data sets as `digits.natural`.

    Raises UserError.
    """
    found = problems_of(records)
    is_one = len({dataset for dataset, _ in found}) == 1
    names = {name if is_one else f"{dataset}.{name}": (dataset, name) for dataset, name in found}
    if setting is not None and setting not in names:
        raise unknown_name("setting", setting, names)
    chosen = [names[setting]] if setting is not None else found
    if len(chosen) > 1:
        raise UserError(f"--setting: the sweep has several ({', '.join(names)}); say which one the model is for")
    return chosen[0]


def evidence_of(
    records: Sequence[TrialRecord],
    problem: Problem,
    top_k: int,
    remedy: str = "continue with: ndcl sweep SWEEP.yaml",
) -> list[Evidence]:
    """The algorithms by their mean over the unseen domains on which all of them have a model, the best first.

    Raises UserError if there is no such domain, with the `remedy`.
    """
    studies: dict[StudyKey, list[TrialRecord]] = {}
    for record in records:
        if (record.study.dataset, record.study.setting) == problem and record.has_target:
            studies.setdefault(record.study, []).append(record)
    models = {key: found for key, own in studies.items() if (found := _models(own, top_k))}
    algorithms = list(dict.fromkeys(key.algorithm for key in studies))
    targets = dict.fromkeys(key.target for key in studies)
    by_name = {(key.algorithm, key.target): found for key, found in models.items()}
    common = [target for target in targets if all((name, target) in by_name for name in algorithms)]
    if not common:
        raise UserError(
            "no unseen domain has a finished final run of every algorithm, by which one could be chosen; the sweep has "
            f"to come to its end first; {remedy}"
        )
    evidence = [_evidence(name, {target: by_name[name, target] for target in common}) for name in algorithms]
    return sorted(evidence, key=lambda each: -(each.mean or 0.0))


def without_evidence(records: Sequence[TrialRecord], problem: Problem, algorithm: str | None) -> Evidence | None:
    """Where no domain was left out: the algorithm that is asked for, or the only one; None where one was.

    Raises UserError if there are several, or none of this name.
    """
    own = [record for record in records if (record.study.dataset, record.study.setting) == problem]
    if any(record.has_target for record in own):
        return None
    names = list(dict.fromkeys(record.study.algorithm for record in own))
    if algorithm is not None and algorithm not in names:
        raise unknown_name("algorithm", algorithm, names)
    if algorithm is None and len(names) > 1:
        raise UserError(
            f"--algorithm: the sweep leaves no domain out, so that nothing chooses between {', '.join(names)}; name one"
        )
    return Evidence(algorithm=algorithm or names[0], accuracies={}, calibration_error=None)


def _models(study: Sequence[TrialRecord], top_k: int) -> list[TrialRecord]:
    """The ensemble, or else the final runs."""
    ensemble = shown_ensemble(study, top_k)
    return [ensemble] if ensemble else chosen_finals(study, top_k)


def _evidence(algorithm: str, models: Mapping[str, Sequence[TrialRecord]]) -> Evidence:
    checkpoints = {target: [best_checkpoint(record) or {} for record in own] for target, own in models.items()}
    errors = [
        each["calibration"]["target"]["calibrated_ece"]
        for own in checkpoints.values()
        for each in own
        if each.get("calibration") and each["calibration"]["target"]["calibrated_ece"] is not None
    ]
    return Evidence(
        algorithm=algorithm,
        accuracies={target: fmean(each["target"]["overall"] for each in own) for target, own in checkpoints.items()},
        calibration_error=fmean(errors) if errors else None,
    )


def study_without_target(records: Sequence[TrialRecord], problem: Problem, algorithm: str) -> StudyKey | None:
    """The study of `data.targets: none` that the sweep itself has of this algorithm, if it has one."""
    keys = (record.study for record in records if not record.has_target)
    return next((key for key in keys if (key.dataset, key.setting) == problem and key.algorithm == algorithm), None)


def deploy_sweep(
    resolved: Mapping[str, Any],
    records: Sequence[TrialRecord],
    problem: Problem,
    algorithm: str,
    earlier: Mapping[str, Any] | None = None,
) -> SweepConfig:
    """The sweep that trains the algorithm on all domains, of the one whose resolved values and records are given.

    It tries the values that the studies settled on, one after the other; leave-one-domain-out over all labelled domains
    decides between them, or without anything to search tells the number of steps; final runs repeat the best with as
    many seeds. `earlier` is what the sweep of the name without an algorithm holds, if there is one: it is continued if
    it is of the same algorithm and setting. Raises UserError if this makes no sweep.
    """
    dataset, setting = problem
    recipes = {
        json.dumps(found[0].values, sort_keys=True)
        for key in dict.fromkeys(record.study for record in records)
        if (key.dataset, key.setting, key.algorithm) == (dataset, setting, algorithm) and key.target != NO_TARGET
        if (found := chosen_finals([record for record in records if record.study == key], _top_k(resolved)))
    }
    imbalances = [each for each in resolved["imbalance"] if _is_of(each, setting, records)]
    [data] = [each for each in resolved["data"] if each["name"] == dataset]
    final = resolved["final"]
    search = resolved["search"]
    overrides = [each for each in resolved["overrides"] if _is_for_all(each, dataset, algorithm)]
    is_searched = any(block.get("space") for block in (resolved, resolved["algorithms"][algorithm], *overrides))
    warm_start = {
        "sweep": resolved["name"],
        "num_trials": max(len(recipes), 1),
        "from_other_targets": True,
        "optional": True,
    }
    values = {
        **resolved,
        "data": [{**data, "targets": [NO_TARGET]}],
        "imbalance": imbalances[:1],
        "algorithms": {algorithm: resolved["algorithms"][algorithm]},
        "overrides": overrides,
        "search": {
            "num_trials": max(len(recipes), 1),
            "objective": [LEAVE_ONE_DOMAIN_OUT],
            "sampler": "random",
            "scheduler": {"name": "none"},
            "seed": search["seed"],
            "warm_start": warm_start if is_searched else None,
        },
        "final": {**final, "top_k": 1, "ensemble": "weights" if final.get("ensemble") == "weights" else "seeds"},
    }
    among = [(resolved["data"], dataset), (resolved["imbalance"], setting)]
    values["name"] = _name_of(values, [name for several, name in among if len(several) > 1], earlier)
    try:
        return SweepConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"sweep '{values['name']}': {first_error(error, values)}") from None


def _name_of(values: Mapping[str, Any], more: Sequence[str], earlier: Mapping[str, Any] | None) -> str:
    """`digits-deploy-erm`, with `more` of several settings `digits-deploy-erm-natural`; as `earlier` if it is the same.

    `values` are those of the sweep that is to be named, but for the name, which is still the searched sweep's.
    """
    first = f"{values['name']}{SUFFIX}"
    if earlier is not None and _problem_of(earlier) == _problem_of(values):
        return first
    return re.sub("[^A-Za-z0-9._+-]+", "_", "-".join([first, *values["algorithms"], *more]))


def _problem_of(values: Mapping[str, Any]) -> Any:
    """What tells a sweep that trains on all domains from others of the same searched sweep."""
    return [list(values["algorithms"]), list(values["imbalance"]), [data["name"] for data in values["data"]]]


def _top_k(resolved: Mapping[str, Any]) -> int:
    return int(resolved["final"]["top_k"])


def _is_of(imbalance: Mapping[str, Any], setting: str, records: Sequence[TrialRecord]) -> bool:
    """Whether an entry of the sweep's `imbalance` is the one that the studies of a setting were trained under."""
    own = next(record.config["imbalance"] for record in records if record.study.setting == setting)
    given = {key: value for key, value in imbalance.items() if key != "label"}
    return all(_plain(own.get(key)) == _plain(value) for key, value in given.items())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_for_all(override: Mapping[str, Any], dataset: str, algorithm: str) -> bool:
    """Whether an override holds without a target domain."""
    return (
        override.get("target") is None
        and override.get("data") in (None, dataset)
        and override.get("algorithm") in (None, algorithm)
    )
