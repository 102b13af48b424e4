"""How far each criterion on source domains could be trusted, as a grid of text."""

from collections.abc import Sequence

from harness.report.analysis.rank_correlation import FEWEST_TRIALS
from harness.report.analysis.source_criteria import ANY_TRIAL, Judged, SourceCriteria
from harness.report.text.diagnosis_grid import coefficient
from harness.report.text.grid import EMPTY, Grid, label_rows, rounded

HEADER = ("criterion", "algorithm", "studies", "trials", "rank correlation", "95 % interval", "points lost")


def source_criteria_grid(found: SourceCriteria, algorithms: Sequence[str]) -> Grid:
    """A block for each criterion, a row for each of the `algorithms` that has studies."""
    none = (False,) * (len(HEADER) - 2)
    return Grid(
        title=f"{found.dataset}: which criterion on source domains can be trusted",
        header=HEADER,
        blocks=tuple(
            label_rows(
                name, [(algorithm, _cells(row[algorithm]), none) for algorithm in algorithms if algorithm in row]
            )
            for name, row in found.judged.items()
        ),
        notes=(
            "rank correlation: of a study's finished search trials, between the criterion on validation images of the "
            "source domains and overall accuracy on the unseen domain; mean over studies, with a bootstrap of them. At "
            "+1 the criterion ranks trials as the unseen domain does; at 0 it says nothing; below 0 it misleads. Of "
            "log-likelihood and discrepancy less is taken for better.",
            "points lost: what the study's best trial on the unseen domain has more than the one that the criterion "
            f"calls best, in percentage points; {ANY_TRIAL}: what one taken by chance would lose.",
            f"Studies of at least {FEWEST_TRIALS} finished search trials, each at its selected checkpoint. Labels of "
            "the target are read for this table alone: nothing was chosen by it. A criterion that is picked because it "
            "is best here looks better than it is.",
        ),
    )


def _cells(judged: Judged) -> list[str]:
    interval = EMPTY if judged.interval is None else " to ".join(map(coefficient, judged.interval))
    return [str(judged.num_studies), str(judged.num_trials), coefficient(judged.rho), interval, rounded(judged.regret)]
