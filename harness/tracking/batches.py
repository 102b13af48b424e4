"""Many values of a run in few calls; what MLflow refuses for good keeps nothing else back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from harness.tracking.client import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    Value: TypeAlias = Metric | Param | RunTag

REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
"""MLflow's codes of errors that would come again, whenever the same is asked of the same store."""


def log_values(client: "MlflowClient", run_id: str, values: "Sequence[Value]") -> dict[str, str]:
    """Log metrics, parameters and tags; returns what was refused, by its key, and why.

    Raises whatever else MLflow, its database or the network raise, and what it raises for a run that is gone.
    """
    try:
        _log(client, run_id, values)
    except Exception as error:
        if not is_refusal(error) or not _is_active(client, run_id):
            raise
        if len(values) == 1:
            return {values[0].key: one_line(error)}
        half = len(values) // 2
        return log_values(client, run_id, values[:half]) | log_values(client, run_id, values[half:])
    return {}


def is_refusal(error: BaseException) -> bool:
    """Whether MLflow has understood what it was asked and won't ever do it, unlike a fault of the network or server."""
    return getattr(error, "error_code", None) in REFUSALS


def _log(client: "MlflowClient", run_id: str, values: "Sequence[Value]") -> None:
    """MLflow's client knows the limits of one call."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[value for value in values if isinstance(value, Metric)],
        params=[value for value in values if isinstance(value, Param)],
        tags=[value for value in values if isinstance(value, RunTag)],
    )


def _is_active(client: "MlflowClient", run_id: str) -> bool:
    """Nothing can be written to a run that somebody has deleted."""
    return bool(client.get_run(run_id).info.lifecycle_stage == "active")
