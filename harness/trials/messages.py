"""What a trial sends: evaluations, checkpoints, and why it failed."""

import json
import math
import traceback
from typing import Any

from harness.records.record import last_lines
from ndcl.errors import UserError

EVALUATION, FAILURE, LOG = "evaluation", "failure", "log"
"""Keys of a report: an evaluation in JSON, or why the training can't continue in one line, and its traceback."""
NOTICE = "notice"
"""Key of a report that brings nothing but a checkpoint: the node is to be taken away, and the trial is given back."""
CHECKPOINT, RESTARTED = "checkpoint", "restarted"
"""Keys of the reports of several workers: where a checkpoint was stored, and that a worker died and all start again."""


def to_json(values: dict[str, Any]) -> str:
    """JSON in which a number that is NaN or infinite is null, since JSON knows none."""
    return json.dumps(_finite(values), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def failure(error: BaseException, remark: str = "") -> dict[str, str]:
    """The report that a training can't continue: why, with a remark, and where in the code but for a user's mistake."""
    line = f"{one_line(error)}; {remark}" if remark else one_line(error)
    where = "" if isinstance(error, UserError) else "".join(traceback.format_exception(error))
    return {FAILURE: line, LOG: last_lines(where)}


def one_line(error: BaseException) -> str:
    """The error's kind and message in one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__
