"""What a start of a sweep makes of what an earlier one left."""

from pathlib import Path

import pytest

from harness.sweep.prepare import prepare
from ndcl.errors import UserError
from tests.integration import sweeps


def test_a_changed_sweep_is_refused_unless_fresh(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "tiny").mkdir(parents=True)
    prepare(sweeps.planned(sweeps.written(tmp_path), results), fresh=False)
    changed = sweeps.written(tmp_path, train={**sweeps.TINY["train"], "batch_size": 5})
    with pytest.raises(UserError, match=r"batch_size: 4 -> 5.*--fresh"):
        prepare(sweeps.planned(changed, results), fresh=False)
    prepare(sweeps.planned(changed, results), fresh=True)
    prepare(sweeps.planned(changed, results), fresh=False)
