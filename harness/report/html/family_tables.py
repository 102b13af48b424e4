"""One metric of many algorithms in the HTML report: family by family, what counts first, and the rest folded away."""

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.families import in_families
from harness.report.analysis.paired_statistics import SHOWN_DIFFERENT
from harness.report.analysis.ranks import ranks_of
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.html.accuracy_rows import accuracy_cells, difference_rows, ensemble_row, source_rows
from harness.report.html.parts import cell, folded, head, heading_row, row_head, table
from harness.report.text.grid import EMPTY, signed


def family_table(shown: SettingTable, part: Section, caption: str, forest: str) -> str:
    """A row for each algorithm: mean, difference from the reference, rank, target domains; a phone shows the first."""
    ranks, cells = ranks_of(part, shown.algorithms), accuracy_cells(shown, part)
    contrasts = {contrast.algorithm: contrast for contrast in part.contrasts}
    domains = [*map(head, shown.targets)]
    header = [head("algorithm"), head("mean"), head(f"from {shown.algorithms[0]}"), head("rank"), *domains]
    rows = {
        name: row_head(name)
        + mean
        + _difference(contrasts.get(name))
        + cell(f"{ranks.means[name]:.1f}" if ranks else "")
        + "".join(own)
        for name, (*own, mean) in cells.items()
    }
    blocks = [
        [*heading_row(family, len(header)), *(rows[name] for name in names)]
        for family, names in in_families(shown.algorithms, shown.families)
    ]
    return (
        table(caption, header, blocks, "long") + folded("Intervals and verdicts", forest) + _rest(shown, part, caption)
    )


def _difference(contrast: Contrast | None) -> str:
    """Bold where the verdict is that the algorithms differ."""
    if contrast is None:
        return cell("")
    is_different = contrast.result is not None and contrast.result.verdict in SHOWN_DIFFERENT
    return cell(EMPTY if contrast.mean is None else signed(contrast.mean.mean), bold=is_different)


def _rest(shown: SettingTable, part: Section, caption: str) -> str:
    """What stands in the table itself where there are few algorithms."""
    header = [head("algorithm"), *map(head, shown.targets), head("mean", "mean")]
    rows = {
        "Differences by domain": difference_rows(shown, part),
        "Ensembles": [row for name in shown.algorithms for row in ensemble_row(shown, part, name)],
        "Source domains": source_rows(shown) if part.metric == HEADLINE_METRIC else [],
    }
    return "".join(
        folded(title, table(f"{caption}: {title.lower()}", header, [own])) for title, own in rows.items() if own
    )
