"""The further grids of a comparison: accuracy over the imbalance ratio, Pareto fronts, diagnostics of the theory."""

from collections.abc import Sequence

from harness.report.analysis.diagnostics import THEORY, Diagnosis
from harness.report.analysis.rank_correlation import FEWEST_TRIALS, RankCorrelation
from harness.report.text.contrast_grids import probability
from harness.report.text.grid import EMPTY, Grid, label_rows


def diagnosis_grid(diagnosis: Diagnosis, algorithms: Sequence[str]) -> Grid:
    """How each quantity of the theory goes with the accuracy on the unseen domain, for each of the `algorithms`."""
    names = diagnosis.present(algorithms)
    blocks = [
        label_rows(measure, [(name, _correlation_cells(measure, row[name]), (False,) * 6) for name in names])
        for measure, row in diagnosis.correlations.items()
    ]
    return Grid(
        title=f"{diagnosis.dataset}: rank correlation with the overall accuracy on the unseen domain",
        header=("quantity", "algorithm", "by theory", "trials", "all", "95 % interval", "within studies", "p"),
        blocks=tuple(blocks),
        notes=tuple(diagnosis_notes(diagnosis)),
    )


def diagnosis_notes(diagnosis: Diagnosis) -> list[str]:
    """What must be known to read the correlations rightly."""
    num_final = sum(trial.stage == "final" for trial in diagnosis.trials)
    num_search = len(diagnosis.trials) - num_final
    counted = f"{num_search} search trials, pruned ones too, and {num_final} final runs"
    without = f"; {diagnosis.num_without} trials have no diagnostics" if diagnosis.num_without else ""
    return [
        f"Over {counted}, each at the checkpoint that the sweep's own criterion selected{without}.",
        "What is measured on the target domain is looked at for this table alone, when all is over: nothing was "
        "proposed, stopped or selected by it.",
        "all: Spearman's coefficient over all trials of an algorithm, of whatever domain and setting. within studies: "
        "of the ranks within each study, with p by permutations. by theory: what accuracy does where the quantity is "
        "larger.",
        "Trials of a search are not drawn independently of each other, so the intervals are rather too narrow; a "
        f"correlation is no cause. Of fewer than {FEWEST_TRIALS} trials nothing is said.",
    ]


def coefficient(value: float | None) -> str:
    """`+0.63`."""
    return EMPTY if value is None else f"{value:+.2f}"


def _correlation_cells(measure: str, found: RankCorrelation) -> list[str]:
    interval = EMPTY if found.interval is None else " to ".join(map(coefficient, found.interval))
    p = EMPTY if found.p is None else probability(found.p)
    return [THEORY[measure], str(found.num_trials), coefficient(found.rho), interval, coefficient(found.within), p]
