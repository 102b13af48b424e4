"""Mean ranks as a grid of cells."""

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.ranks import LEVEL, ranks_of
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.contrast_grids import probability
from harness.report.text.grid import Grid, Row, percent


def rank_grid(table: SettingTable) -> Grid | None:
    """The algorithms by their mean rank in overall accuracy; None where there are too few to rank."""
    found = {section.metric: ranks for section in table.sections if (ranks := ranks_of(section, table.algorithms))}
    if HEADLINE_METRIC not in found:
        return None
    headline = found[HEADLINE_METRIC]
    overall = next(section for section in table.sections if section.metric == HEADLINE_METRIC)
    rows = tuple(
        Row(
            labels=(name,),
            cells=(*(f"{ranks.means[name]:.1f}" for ranks in found.values()), percent(overall.means.get(name))),
            bold=(*(ranks.is_with_the_first(name) for ranks in found.values()), False),
        )
        for name in headline.means
    )
    is_apart = not all(map(headline.is_with_the_first, headline.means))
    return Grid(
        title=f"{table.dataset}, {table.setting}: mean rank over {headline.num_targets} unseen domains",
        header=("algorithm", *found, f"mean {HEADLINE_METRIC} in %"),
        blocks=(rows,),
        notes=(
            "Rank 1 is the highest mean over seeds on a domain. "
            f"Critical difference {headline.critical_difference:.1f} (Nemenyi, level {LEVEL} for all pairs together): "
            "mean ranks closer than that are not told apart"
            f"{'' if is_apart else ', and here none are further apart'}. Bold: closer than that to the first. "
            f"Friedman's p for {HEADLINE_METRIC}: {probability(headline.p)}.",
        ),
    )
