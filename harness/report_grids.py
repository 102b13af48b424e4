"""The further grids of a comparison: accuracy over the imbalance ratio, and Pareto fronts."""

from harness.report_curves import Curve, CurveMetric
from harness.report_fronts import Front
from harness.report_layout import Grid, Row, highest, label_rows, percent, rounded


def curve_grid(curve: Curve) -> Grid:
    """Accuracy of each algorithm at each imbalance ratio."""
    settings = ", ".join(curve.ratios)
    return Grid(
        title=f"{curve.dataset}, {curve.kind}: accuracy over the imbalance ratio in %",
        header=("metric", "algorithm", *(f"{ratio:g}" for ratio in curve.ratios.values())),
        blocks=tuple(_curve_rows(curve, metric) for metric in curve.metrics if metric.cells),
        notes=(
            f"Columns are the ratios of {settings}; numbers are means over target domains, ± their standard error.",
            *(
                f"{metric.metric}: the mean is over {', '.join(metric.mean_over)} only, where every algorithm has a "
                "value at every ratio."
                for metric in curve.metrics
                if metric.mean_over and len(metric.mean_over) < len(curve.targets)
            ),
        ),
    )


def front_grid(front: Front) -> Grid:
    """The trials on one study's Pareto front."""
    rows = tuple(
        Row(
            labels=(str(trial.number),),
            cells=(*(rounded(value) for value in trial.values.values()), "selected" if trial.selected else ""),
            bold=(False,) * len(front.objectives) + (trial.selected,),
        )
        for trial in front.trials
    )
    notes = [f"{len(front.trials)} of {front.num_finished} finished search trials; each at its best checkpoint, in %."]
    if not any(trial.selected for trial in front.trials):
        notes.append("The selected values are those of a trial that is not on the front.")
    study = front.study
    return Grid(
        title=f"{study.algorithm} on {study.dataset}, {study.setting}, {study.target} unseen: Pareto front",
        header=("trial", *front.objectives, ""),
        blocks=(rows,),
        notes=tuple(notes),
    )


def _curve_rows(curve: Curve, metric: CurveMetric) -> tuple[Row, ...]:
    grid = [[metric.cells.get((name, setting)) for setting in curve.ratios] for name in curve.algorithms]
    bold = zip(*map(highest, zip(*grid, strict=True)), strict=True)
    rows = [
        (name, [*map(percent, cells)], best) for name, cells, best in zip(curve.algorithms, grid, bold, strict=True)
    ]
    return label_rows(metric.metric, rows)
