"""How many trials of several workers fit on the nodes of a cluster, and what a sweep's file may say of them."""

from pathlib import Path
from typing import Any

import pytest

from harness.config import Demand, Workers
from harness.config.demand import num_at_once
from harness.config.resources import ResourceSpec
from harness.plan.fit import fit
from ndcl.errors import UserError
from tests.harness.plan.test_plan import plan_of
from tests.made.made_records import both

SMALL, LARGE = {"CPU": 2.0, "node:a": 1.0}, {"CPU": 8.0, "GPU": 4.0}


def occupied(workers: dict[str, Any], limit: int | None = None) -> Demand:
    """By one trial of such workers; not more than `limit` at once."""
    made = Workers(**workers)
    cpus, gpus = made.cpus * made.most, made.gpus * made.most
    return Demand(cpus=cpus, gpus=gpus, workers=made, max_concurrent=limit)


@pytest.mark.parametrize(
    ("workers", "nodes", "limit", "expected"),
    [
        ({"least": 2, "most": 2}, [SMALL], None, 1),
        ({"least": 2, "most": 2}, [SMALL] * 3, None, 3),
        ({"least": 2, "most": 2}, [SMALL] * 3, 2, 2),
        ({"least": 3, "most": 3}, [SMALL] * 3, None, 2),
        (
            {"least": 2, "most": 2, "cpus": 1.5},
            [SMALL] * 3,
            None,
            1,
        ),  # one on each node
        ({"least": 3, "most": 3, "gpus": 1}, [SMALL, LARGE, LARGE], None, 2),
        ({"least": 3, "most": 3, "placement": "STRICT_PACK"}, [SMALL, LARGE], None, 2),
        ({"least": 2, "most": 2, "placement": "STRICT_SPREAD"}, [SMALL, LARGE], None, 2),
        ({"least": 1, "most": 4}, [SMALL], None, 1),  # two of one each would take each other's place
        ({"least": 1, "most": 4}, [LARGE], None, 2),
    ],
)
def test_as_many_trials_as_have_room_for_all_their_workers(
    workers: dict[str, Any], nodes: list[dict[str, float]], limit: int | None, expected: int
) -> None:
    assert num_at_once(occupied(workers, limit), nodes) == expected


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        ({"least": 7, "most": 9}, "needs 7 workers of 1 CPU and 0 GPU, but there is room for 6 on 3 nodes; lower"),
        ({"least": 3, "most": 3, "placement": "STRICT_PACK"}, "0 GPU on one node, but"),
        ({"least": 4, "most": 4, "placement": "STRICT_SPREAD"}, "on its own node each, but there is room for 6"),
        ({"least": 2, "most": 2, "gpus": 1}, "but there is room for 0 on 3 nodes"),
    ],
)
def test_workers_that_never_fit_are_refused(workers: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^resources: a trial .*{message}"):
        num_at_once(occupied(workers), [SMALL] * 3)


@pytest.mark.parametrize(
    ("nodes", "needed", "limit", "expected"),
    [
        ([{"CPU": 8.0}], {"cpus": 1.0, "gpus": 0.0}, None, 8),
        ([{"CPU": 8.0}], {"cpus": 1.0, "gpus": 0.0}, 3, 3),
        ([{"CPU": 8.0, "GPU": 2.0}], {"cpus": 1.0, "gpus": 1.0}, None, 2),
        ([{"CPU": 8.0, "GPU": 1.0}], {"cpus": 1.0, "gpus": 0.25}, None, 4),
        ([{"CPU": 8.0, "GPU": 3.0}], {"cpus": 1.0, "gpus": 0.4}, None, 6),  # two on each GPU
        ([{"CPU": 2.0}], {"cpus": 0.1, "gpus": 0.0}, None, 20),
        ([{"CPU": 3.0}, {"CPU": 3.0}], {"cpus": 2.0, "gpus": 0.0}, None, 2),  # one on each node, though there are six
        ([{"CPU": 0.0}, {"CPU": 4.0, "GPU": 1.0}], {"cpus": 1.0, "gpus": 1.0}, None, 1),
    ],
)
def test_as_many_trials_as_fit_on_a_node_each(
    nodes: list[dict[str, float]], needed: dict[str, float], limit: int | None, expected: int
) -> None:
    assert num_at_once(Demand(**needed, max_concurrent=limit), nodes) == expected


@pytest.mark.parametrize(
    ("nodes", "needed", "message"),
    [
        ([{"CPU": 2.0}], {"cpus": 1.0, "gpus": 1.0}, "1 GPU, but there are 0; lower resources.gpus_per_trial"),
        ([{"CPU": 2.0}], {"cpus": 4.0, "gpus": 0.0}, "4 CPU, but there are 2; lower resources.cpus_per_trial"),
        (
            [{"CPU": 2.0}] * 3,
            {"cpus": 4.0, "gpus": 0.0},
            "4 CPU, but no node has more than 2; lower resources.cpus_per_trial",
        ),
        ([{"CPU": 4.0}, {"CPU": 1.0, "GPU": 1.0}], {"cpus": 4.0, "gpus": 1.0}, "4 CPU and 1 GPU, and no node has both"),
    ],
)
def test_a_trial_that_fits_on_no_node_is_refused(
    nodes: list[dict[str, float]], needed: dict[str, float], message: str
) -> None:
    with pytest.raises(UserError, match=f"^resources: a trial needs {message}"):
        num_at_once(Demand(**needed), nodes)


def test_one_worker_is_the_trials_own_process() -> None:
    resources = ResourceSpec(cpus_per_trial=2, gpus_per_trial=0.5)
    assert resources.occupied("resources") == Demand(cpus=2, gpus=0.5)


def test_a_plan_knows_its_workers_and_what_they_occupy_together() -> None:
    resources = {"workers_per_trial": {"min": 2, "max": 4}, "cpus_per_worker": 3, "gpus_per_worker": 1}
    plan = plan_of(Path("/out"), resources=resources | {"placement": "SPREAD"})
    workers = Workers(least=2, most=4, cpus=3, gpus=1, placement="SPREAD")
    assert plan.occupied == both(cpus=12, gpus=4, workers=workers)
    assert plan.occupied["final"].cpus_per_process == 3


def test_final_runs_may_occupy_something_else_and_then_come_after_all_searches() -> None:
    plan = plan_of(Path("/out"), final={"seeds": 2, "resources": {"workers_per_trial": 3, "placement": "SPREAD"}})
    workers = Workers(least=3, most=3, placement="SPREAD")
    assert plan.occupied == {"search": Demand(cpus=1, gpus=0), "final": Demand(cpus=3, gpus=0, workers=workers)}
    assert plan.phases == (("search",), ("final",))
    without = plan_of(Path("/out"), final={"seeds": 0})
    assert without.phases == (("search",),)


def test_a_plan_says_when_its_workers_do_not_fit_this_machine() -> None:
    found = fit(plan_of(Path("/out"), resources={"workers_per_trial": 10_000}))
    assert found.at_once is None
    assert "resources: a trial needs 10000 workers" in (found.problem or "")
    final = fit(plan_of(Path("/out"), final={"seeds": 2, "resources": {"workers_per_trial": 10_000}}))
    assert (final.problem or "").startswith("final.resources: a trial needs 10000 workers")
    assert "lower final.resources.workers_per_trial" in (final.problem or "")
