"""What a comparison found, in one sentence for each data set and setting."""

from harness.report_contrast_grids import SHOWN_DIFFERENT
from harness.report_contrasts import Contrast
from harness.report_layout import rounded, signed
from harness.report_tables import Section, SettingTable

HEADLINE_METRIC = "overall"


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
    parts = [_part(contrast) for contrast in _by_mean(section)]
    place = "domains" if len(section.mean_over) > 1 else "domain"
    return f"Overall, over {len(section.mean_over)} unseen {place}: {'; '.join(parts)}."


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
    return f"{name} is within noise of {reference} ({points} points{interval})"
