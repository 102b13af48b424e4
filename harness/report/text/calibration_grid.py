"""Whether the models' probabilities can be taken at their word, as a grid of text."""

from harness.report.analysis.calibration import MEASURES, Calibrated
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.accuracy_grids import ensemble_name
from harness.report.text.grid import EMPTY, Grid, label_rows

HEADER = ("ECE source", "ECE unseen", "with T", "NLL source", "NLL unseen", "with T", "T")


def calibration_grid(table: SettingTable) -> Grid | None:
    """Calibration errors of single runs and of ensembles, means over target domains; None where none is known."""
    rows = []
    for algorithm in table.algorithms:
        single, ensemble = table.calibrations.get(algorithm), table.ensemble_calibrations.get(algorithm)
        rows += [(algorithm, _cells(single))] if single else []
        rows += [(ensemble_name(table, algorithm), _cells(ensemble))] if ensemble else []
    if not rows:
        return None
    none = (False,) * len(HEADER)
    return Grid(
        title=f"{table.dataset}, {table.setting}: calibration",
        header=("", "algorithm", *HEADER),
        blocks=(label_rows("", [(name, cells, none) for name, cells in rows]),),
        notes=(
            "ECE: expected calibration error in points, the gap between confidence and accuracy; NLL: negative "
            "log-likelihood, mean over classes. Source: validation images. With T: logits divided by the temperature T "
            "that is fitted on these images of the source domains, as in exported models; means over target domains.",
        ),
    )


def _cells(found: Calibrated) -> list[str]:
    values = [getattr(found, name) for name in MEASURES]
    return [
        EMPTY if v is None else f"{100 * v:.1f}" if "ece" in n else f"{v:.2f}"
        for n, v in zip(MEASURES, values, strict=True)
    ]
