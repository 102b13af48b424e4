"""What a comparison found, in one sentence for each data set and setting."""

from collections import Counter
from statistics import fmean

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.details import Details, StudyDetails
from harness.report.analysis.paired_statistics import SHOWN_DIFFERENT
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.text.grid import rounded, signed

MOST_TOLD = 8
"""Algorithms that a sentence has one by one; of more it names those that differ, and of these the highest."""


def finding(table: SettingTable) -> str:
    """`ndcl is higher than erm by 3.1 points (95 % interval +1.2 to +5.0); focal is within noise of it (+0.4).`"""
    section = next(section for section in table.sections if section.metric == HEADLINE_METRIC)
    if not section.means:
        return "No target domain has a value of every algorithm yet."
    best = max(section.means, key=lambda name: section.means[name].mean)
    if len(section.means) == 1:
        return f"{best} reaches {rounded(section.means[best].mean)} % overall, with nothing to compare it with."
    if not section.contrasts:
        return f"{best} is highest ({rounded(section.means[best].mean)} % overall); the reference is not among them."
    ordered = _by_mean(section)
    told = ordered if len(ordered) <= MOST_TOLD else [contrast for contrast in ordered if _is_different(contrast)]
    parts = [_part(contrast) for contrast in told[:MOST_TOLD]]
    if len(told) > MOST_TOLD:
        parts.append(_also(told[MOST_TOLD:]))
    if len(told) < len(ordered):
        parts.append(_untold(ordered, len(told)))
    place = "domains" if len(section.mean_over) > 1 else "domain"
    return f"Overall, over {len(section.mean_over)} unseen {place}: {'; '.join(parts)}."


def recommendation(table: SettingTable, *, oracle: bool) -> str | None:
    """What to deploy by source data alone, and how often that rule would have been right.

    None with one algorithm, and where the `oracle` was used, so that nothing was chosen by source data.
    """
    section = next(section for section in table.sections if section.metric == HEADLINE_METRIC)
    targets = [t for t in section.mean_over if all((a, t) in table.sources for a in table.algorithms)]
    if oracle or len(table.algorithms) < 2 or not targets:
        return None
    by_source = {a: fmean(table.sources[a, t].mean for t in targets) for a in table.algorithms}
    best = max(by_source, key=lambda name: by_source[name])
    has_ensembles = all((a, t) in section.ensembles for a in table.algorithms for t in targets)
    worth = section.ensembles if has_ensembles else section.cells
    regrets = []
    for target in targets:
        known = {name: table.sources[name, target].mean for name in table.algorithms}
        chosen = max(known, key=known.__getitem__)
        regrets.append(max(worth[a, target].mean for a in table.algorithms) - worth[chosen, target].mean)
    right = sum(regret == 0 for regret in regrets)
    model = _model_name(table, best) if has_ensembles else f"a final run of {best}"
    return (
        f"To deploy, by source data alone: {model} (validation accuracy {rounded(by_source[best])} %). Chosen so for "
        f"each unseen domain, the algorithm is the best one on {right} of {len(targets)}, and "
        f"{rounded(fmean(regrets))} points below the best on average; labels of the unseen domains were used for this "
        "sentence alone."
    )


def _model_name(table: SettingTable, algorithm: str) -> str:
    forms = table.ensemble_forms(algorithm)
    return f"the averaged weights of {algorithm}" if forms == {"weights"} else f"the ensemble of {algorithm}"


def edge_lines(details: Details, dataset: str, setting: str) -> list[str]:
    """Searched values that were best at the same end of their range in most of an algorithm's studies."""
    studies: dict[str, list[StudyDetails]] = {}
    for study in details.of(dataset, setting):
        studies.setdefault(study.key.algorithm, []).append(study)
    lines = []
    for algorithm, own in studies.items():
        counts = Counter(edge for study in own for edge in study.edges)
        lines += [
            f"{edge.key} of {algorithm}: best at the {edge.end} end of its range, {edge.bound:g}, in {number} of "
            f"{len(own)} studies; widen it."
            for edge, number in counts.items()
            if number > 1 and 2 * number > len(own)
        ]
    return lines


def _is_different(contrast: Contrast) -> bool:
    return contrast.result is not None and contrast.result.verdict in SHOWN_DIFFERENT


def _also(contrasts: list[Contrast]) -> str:
    """`5 more are higher, 3 are lower`, of those that differ and are not told one by one."""
    verdicts = Counter(contrast.result.verdict for contrast in contrasts if contrast.result)
    return "of the others " + " and ".join(f"{n} {'is' if n == 1 else 'are'} {v}" for v, n in verdicts.items())


def _untold(ordered: list[Contrast], num_told: int) -> str:
    """What is said of those that can't be told from the reference, where there are many."""
    highest = ordered[0]
    points = "" if highest.mean is None else f" ({signed(highest.mean.mean)} points)"
    rest = f"{len(ordered) - num_told} of {len(ordered)} can't be told from {highest.reference}"
    return rest if _is_different(highest) else f"{rest}, nor can {highest.algorithm}, the highest{points}"


def _by_mean(section: Section) -> list[Contrast]:
    return sorted(section.contrasts, key=lambda contrast: -section.means[contrast.algorithm].mean)


def _part(contrast: Contrast) -> str:
    name, reference, result = contrast.algorithm, contrast.reference, contrast.result
    if contrast.mean is None:
        return f"{name} can't be compared with {reference} yet"
    points = signed(contrast.mean.mean)
    if result is None:
        return f"{name} is {points} points from {reference} so far, without final runs on every domain"
    if result.verdict == "too few pairs":
        return f"{name} is {points} points from {reference}, of too few pairs to tell"
    interval = "" if result.interval is None else f", 95 % interval {' to '.join(map(signed, result.interval))}"
    if result.verdict in SHOWN_DIFFERENT:
        return f"{name} is {result.verdict} than {reference} by {points.lstrip('+-')} points{interval}"
    if result.verdict == "not significant":
        return f"{name} is {points} points from {reference}{interval}, not significant: {contrast.why_not_significant}"
    return f"{name} is within noise of {reference} ({points} points{interval})"
