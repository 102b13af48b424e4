"""Time and price of a sweep on a cluster, on plans made by hand and prices of round numbers."""

import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster.cost import START_SECONDS, Fleet, cluster_cost, cost_lines, fleet_of
from harness.cluster.files import read_cluster
from harness.cluster.prices import Machine, PriceList, parse_prices, read_prices
from harness.config import Demand, Workers
from harness.plan import Plan
from harness.plan.cost import Kind, Range, Speed
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import SHIPPED, changed, filled_in
from tests.made.made_records import base, both, plan, study

ERM = Kind(dataset="digits", backbone="small_cnn", algorithm="erm")
SPEEDS = {ERM: Speed(seconds_per_step=3.6)}
PRICES = PriceList(
    as_of=date(2026, 1, 1),
    stale_after_days=90,
    spot=(0.25, 0.5),
    disk_gib_month=0.0,
    machines={
        "m6i.xlarge": Machine(hour=0.5, cpus=4, gpus=0),
        "g5.xlarge": Machine(hour=2.0, cpus=4, gpus=1),
    },
)


def made(num_trials: int, **changes: Any) -> Plan:
    """Trials of 1000 steps, thus an hour each, on a GPU each, none stopped early."""
    one = study(base=base(num_steps=1000), num_trials=num_trials, final_seeds=())
    return dataclasses.replace(plan(Path("results"), one), occupied=both(**{"cpus": 4.0, "gpus": 1.0, **changes}))


def fleet(tmp_path: Path, **changes: Any) -> Fleet:
    """Of clusters/aws.yaml: eight spot workers of 8 at most, two on demand, 5 minutes idle."""
    return fleet_of(changed("aws", tmp_path, lambda values: values.update(changes)), PRICES)


def test_trials_side_by_side_on_as_many_nodes_as_there_may_be(tmp_path: Path) -> None:
    cost = cluster_cost(made(16), [], SPEEDS, fleet(tmp_path), PRICES)
    assert (cost.at_once["search"], len(cost.workers)) == (8, 8)
    assert cost.wall_seconds == Range(least=2 * 3600 + START_SECONDS.least, most=2 * 3600 + START_SECONDS.most)
    start = Range(least=START_SECONDS.least / 3600, most=START_SECONDS.most / 3600)
    idle = 5 / 60
    spot = 8 * 2.0 * 0.25
    assert cost.price.least == pytest.approx((2 + start.least + idle) * spot + (2 + start.least) * 0.5)
    assert cost.price.most == pytest.approx((2 + start.most + idle) * 8 * 2.0 + (2 + start.most) * 0.5)


def test_fewer_trials_take_fewer_nodes(tmp_path: Path) -> None:
    cost = cluster_cost(made(3), [], SPEEDS, fleet(tmp_path), PRICES)
    assert (cost.at_once["search"], len(cost.workers)) == (3, 3)


def test_the_worst_hour_is_the_ceiling_of_the_dearest_at_the_full_price(tmp_path: Path) -> None:
    assert fleet(tmp_path).worst_hour(PRICES) == 8 * 2.0 + 0.5
    assert fleet(tmp_path, max_workers=3).worst_hour(PRICES) == 3 * 2.0 + 0.5
    dearer = PRICES.with_prices({"g5.xlarge": 3.0})
    file = read_cluster(filled_in("aws", tmp_path))
    assert fleet_of(file, dearer).worst_hour(dearer) == 8 * 3.0 + 0.5


def test_disks_cost_as_long_as_their_node(tmp_path: Path) -> None:
    with_disks = dataclasses.replace(PRICES, disk_gib_month=0.73)
    assert fleet(tmp_path).worst_hour(with_disks) == pytest.approx(8 * 2.0 + 0.5 + 9 * 150 * 0.001)


def test_a_disk_that_the_sweeps_data_may_fill_is_told(tmp_path: Path) -> None:
    def lines(name: str) -> list[str]:
        data = {**base()["data"], "name": name}
        one = dataclasses.replace(made(2), studies=(study(base=base(data=data), num_trials=2, final_seeds=()),))
        return [line for line in cost_lines(one, [], {}, fleet(tmp_path), PRICES, date(2026, 1, 1)) if "disk" in line]

    assert lines("digits") == lines("pacs") == []
    assert lines("domainnet") == [
        f"warning: the disk of {name} has 150 GiB; image and packages take about 42, DomainNet up to 109 (raw pixels): "
        "161 are safe"
        for name in ("head", "gpu_spot", "gpu_ondemand")
    ]


def test_a_training_of_several_workers_takes_several_nodes(tmp_path: Path) -> None:
    two = made(16, workers=Workers(least=2, most=2, cpus=4.0, gpus=1))
    cost = cluster_cost(two, [], SPEEDS, fleet(tmp_path), PRICES)
    assert (cost.at_once["search"], len(cost.workers)) == (4, 8)


def test_final_runs_on_more_nodes_have_their_own_number_at_once_and_the_price_has_these_nodes(tmp_path: Path) -> None:
    one = study(base=base(num_steps=1000), num_trials=2, final_seeds=(1,))
    search = Demand(cpus=4, gpus=1)
    final = Demand(cpus=16, gpus=4, workers=Workers(least=4, most=4, cpus=4.0, gpus=1))
    two = dataclasses.replace(plan(Path("results"), one), occupied={"search": search, "final": final})
    cost = cluster_cost(two, [], SPEEDS, fleet(tmp_path), PRICES)
    assert (cost.at_once, len(cost.workers)) == ({"search": 2, "final": 1}, 4)
    assert cost.wall_seconds.least == 2 * 3600 + START_SECONDS.least
    assert "at once: 2, then 1 trials on 4 g5.xlarge (spot)" in list(
        cost_lines(two, [], SPEEDS, fleet(tmp_path), PRICES, date(2026, 1, 2))
    )


def test_a_trial_that_fits_on_no_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a trial needs 2 GPU, but no node has more than 1"):
        cluster_cost(made(1, gpus=2.0), [], SPEEDS, fleet(tmp_path), PRICES)


def test_without_speeds_the_worst_hour_is_still_told(tmp_path: Path) -> None:
    lines = list(cost_lines(made(2), [], {}, fleet(tmp_path), PRICES, date(2026, 1, 2)))
    assert lines[0] == "prices in US dollars, of 2026-01-01"
    assert lines[-3].startswith("time and price: not known for erm with small_cnn on digits; give --measure")
    assert lines[-2] == "at the worst: 16.50 an hour; 0.50 an hour when nothing runs, until `down`"


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({}, "unused it ends by itself after 2 hours, 1.00 (metadata.idle_hours)"),
        ({"idle_hours": 0.5}, "unused it ends by itself after 0.5 hours, 0.25 (metadata.idle_hours)"),
        ({"idle_hours": 0}, "it never ends by itself (metadata.idle_hours: 0)"),
    ],
)
def test_how_long_an_unused_cluster_costs_is_told(metadata: dict[str, Any], told: str, tmp_path: Path) -> None:
    lines = list(cost_lines(made(2), [], {}, fleet(tmp_path, metadata=metadata), PRICES, date(2026, 1, 2)))
    assert lines[-1] == told


def test_old_prices_and_speeds_of_a_cpu_are_warned_of(tmp_path: Path) -> None:
    on_cpu = {ERM: Speed(seconds_per_step=3.6, device="cpu")}
    lines = list(cost_lines(made(2), [], on_cpu, fleet(tmp_path), PRICES, date(2026, 4, 2)))
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert warnings[0].startswith("warning: the prices are 91 days old")
    assert "measured on a CPU" in warnings[1]
    assert PRICES.warning(date(2026, 4, 1)) is None


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"local", "kuberay", "sky"}))
def test_every_machine_of_the_shipped_clusters_has_a_price(name: str, tmp_path: Path) -> None:
    prices = read_prices()
    assert fleet_of(read_cluster(filled_in(name, tmp_path)), prices).worst_hour(prices) > 0


@pytest.mark.parametrize("name", ["local", "kuberay", "sky"])
def test_machines_without_a_list_price_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"machines of {name} have no list price"):
        fleet_of(read_cluster(filled_in(name, tmp_path)), PRICES)


def test_a_machine_that_is_not_in_the_list_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown machine type 'g5.xlarg'; did you mean 'g5.xlarge'"):
        PRICES.machine("g5.xlarg")
    assert PRICES.with_prices({"g9.huge": 7.0}).machine("g9.huge").hour == 7.0


def test_a_price_that_is_none_is_refused(tmp_path: Path) -> None:
    assert parse_prices(["g5.xlarge=1.01"]) == {"g5.xlarge": 1.01}
    with pytest.raises(UserError, match=r"--price g5\.xlarge: expected TYPE=USD"):
        parse_prices(["g5.xlarge"])
    with pytest.raises(UserError, match=r"--price g5\.xlarge=-1: expected TYPE=USD"):
        parse_prices(["g5.xlarge=-1"])
    path = tmp_path / "prices.yaml"
    path.write_text("as_off: 2026-01-01\n")
    with pytest.raises(UserError, match=r"prices.yaml: .*as_off: unknown key; did you mean 'as_of'"):
        read_prices(path)


def test_the_command_prices_a_sweep(tmp_path: Path) -> None:
    command = ["cluster", "cost", "search_spaces/digits.yaml", "clusters/aws.yaml", "--results", str(tmp_path)]
    options = ["--seconds-per-step", "1", "--set", "resources.gpus_per_trial=1", "--price", "g5.xlarge=100"]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    assert "at once: 8 trials on 8 g5.xlarge (spot)" in result.output
    assert "at the worst: 800." in result.output


@pytest.mark.parametrize(
    "words", [["cost", "search_spaces/digits.yaml", "FILE"], ["submit", "FILE", "search_spaces/digits.yaml"]]
)
def test_a_price_of_a_machine_that_no_node_is_is_refused(words: list[str], tmp_path: Path) -> None:
    path = str(filled_in("aws", tmp_path))
    budget = ["--budget", "5"] if words[0] == "submit" else []
    typed = [path if word == "FILE" else word for word in words]
    result = CliRunner().invoke(app, ["cluster", *typed, *budget, "--price", "g5.xlrge=1"])
    assert result.exit_code == 2
    assert result.output == (
        f"ndcl: error: {path}: --price: no node is of it: unknown machine type 'g5.xlrge'; did you mean 'g5.xlarge'? "
        "Valid: g5.xlarge, m6i.xlarge\n"
    )


def test_the_guide_shows_what_the_command_says(tmp_path: Path) -> None:
    command = ["cluster", "cost", "search_spaces/digits.yaml", "clusters/aws.yaml", "--results", str(tmp_path)]
    options = ["--seconds-per-step", "0.02", "--set", "resources.gpus_per_trial=1"]
    said = CliRunner().invoke(app, [*command, *options]).stdout.splitlines()
    guide = Path("docs/clusters.md").read_text()
    assert len(said) >= 7
    assert [line for line in said if "days old" not in line and f"\n{line}\n" not in guide] == []


@pytest.mark.parametrize(
    "verb", ["check", "bootstrap", "cost", "up", "submit", "status", "logs", "stop", "results", "down"]
)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = CliRunner().invoke(app, ["cluster", verb, "--help"])
    assert result.exit_code == 0
    assert f"Example: ndcl cluster {verb}" in result.output
