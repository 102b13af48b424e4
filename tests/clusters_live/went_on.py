"""What the clusters' lives are about: a trial whose machine is gone continues elsewhere from its last checkpoint."""

from harness.records import TrialRecord
from tests.integration.sweeps import past


def check_went_on(before: TrialRecord, after: TrialRecord) -> None:
    """`before` is the record of a trial with a checkpoint, read before machines were lost, `after` that of its end.

    What was trained up to the checkpoint stands there unchanged, with its times: it was not trained anew.
    """
    assert after.state == "finished", after.reason
    assert after.attempts > before.attempts
    assert before.checkpoint is not None
    known = past(before)[:-1] or past(before)  # the newest may have had no checkpoint yet
    assert past(after)[: len(known)] == known, "it began anew"
    every, last = after.config["evaluate_every"], after.config["num_steps"]
    assert [e["step"] for e in after.evaluations] == list(range(every, last + 1, every))
