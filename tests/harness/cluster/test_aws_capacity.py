"""Quotas, spot scores and prices of now, against AWS's own model of its answers; several GPUs in a group; blocks."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster.aws.policies import Account
from harness.cluster.aws.session import Session
from harness.cluster.catalogue.ec2_types import ec2_types
from harness.cluster.catalogue.machine_sizes import azure_size, gce_size
from harness.cluster.checks.aws_quotas import needs, quotas
from harness.cluster.checks.aws_spot import placement_notes
from harness.cluster.cost import cost_lines, fleet_of
from harness.cluster.files import ClusterFile, read_cluster
from harness.cluster.live_prices import with_live_prices
from harness.cluster.market import is_spot, market_of
from harness.cluster.prices import read_prices
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import changed, filled_in, found
from tests.harness.cluster.test_cost import SPEEDS, made

REGION = "us-west-2"
SPOT, ON_DEMAND, STANDARD = "L-3819A6DF", "L-DB2E81BA", "L-1216C47A"


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION, aws_access_key_id="made", aws_secret_access_key="made")


@pytest.fixture
def file(tmp_path: Path) -> ClusterFile:
    return read_cluster(filled_in("aws", tmp_path))


@pytest.fixture
def session() -> Session:
    account = Account(number="123456789012", region=REGION)
    return Session(account=account, user="ada", ec2=client("ec2"), iam=None, s3=None)


@pytest.fixture
def service() -> Any:
    return client("service-quotas")


@pytest.fixture
def stub(service: Any) -> Iterator[Stubber]:
    with Stubber(service) as stubber:
        yield stubber


def allow(stub: Stubber, code: str, cpus: float) -> None:
    stub.add_response("get_service_quota", {"Quota": {"Value": cpus}}, {"ServiceCode": "ec2", "QuotaCode": code})


def test_what_a_cluster_takes_of_each_quota(file: ClusterFile) -> None:
    taken = {need.code: (need.cpus, len(need.nodes)) for need in needs(file)}
    assert taken == {STANDARD: (4, 1), SPOT: (32, 8), ON_DEMAND: (8, 2)}


def test_a_new_account_is_told_its_quotas_of_gpus(
    session: Session, file: ClusterFile, service: Any, stub: Stubber
) -> None:
    allow(stub, STANDARD, 32)
    allow(stub, SPOT, 0)
    allow(stub, ON_DEMAND, 8)
    assert [str(finding) for finding in quotas(session, file, service)] == [
        "account: the quota 'All G and VT Spot Instance Requests' is 0 vCPUs, 8 g5.xlarge take 32; fewer max_workers, "
        "or: aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF "
        "--desired-value 32"
    ]


def test_a_quota_that_the_account_never_changed_is_the_default(
    session: Session, file: ClusterFile, service: Any, stub: Stubber
) -> None:
    allow(stub, STANDARD, 32)
    stub.add_client_error("get_service_quota", "NoSuchResourceException")
    stub.add_response("get_aws_default_service_quota", {"Quota": {"Value": 4.0}})
    allow(stub, ON_DEMAND, 64)
    assert ["is 4 vCPUs, 8 g5.xlarge take 32" in str(finding) for finding in quotas(session, file, service)] == [True]


def test_who_may_not_ask_is_told_nothing(session: Session, file: ClusterFile, service: Any, stub: Stubber) -> None:
    for _ in range(3):
        stub.add_client_error("get_service_quota", "AccessDeniedException")
    assert list(quotas(session, file, service)) == []


def test_spot_scores_are_of_all_types_together_and_name_better_regions(session: Session, file: ClusterFile) -> None:
    scores = [("us-west-2", 3), ("us-east-2", 9), ("eu-north-1", 5), ("sa-east-1", 1)]
    answer = {"SpotPlacementScores": [{"Region": region, "Score": score} for region, score in scores]}
    asked = {
        "InstanceTypes": ["g5.xlarge", "g6.xlarge"],
        "TargetCapacity": 8,
        "TargetCapacityUnitType": "units",
        "SingleAvailabilityZone": False,
    }
    with Stubber(session.ec2) as stub:
        stub.add_response("get_spot_placement_scores", answer, asked)
        assert list(placement_notes(session, with_l4(file), session.ec2)) == [
            "EC2's score for 8 spot g5.xlarge or g6.xlarge in us-west-2: 3 of 10; elsewhere: us-east-2 9, eu-north-1 5"
        ]
        stub.add_client_error("get_spot_placement_scores", "UnauthorizedOperation")
        assert list(placement_notes(session, file, session.ec2)) == []


def product(*hours: str) -> str:
    dimensions = {str(number): {"pricePerUnit": {"USD": hour}} for number, hour in enumerate(hours)}
    return json.dumps({"terms": {"OnDemand": {"offer": {"priceDimensions": dimensions}}}})


def test_prices_of_now_take_the_place_of_the_files(file: ClusterFile) -> None:
    pricing, ec2 = client("pricing"), client("ec2")
    history = [("us-west-2a", "0.40"), ("us-west-2b", "0.35")]
    with Stubber(pricing) as prices_stub, Stubber(ec2) as ec2_stub:
        found_now = [
            {"InstanceType": "g5.xlarge", "AvailabilityZone": zone, "SpotPrice": hour} for zone, hour in history
        ]
        asked = {"InstanceTypes": ["g5.xlarge"], "ProductDescriptions": ["Linux/UNIX"], "StartTime": ANY}
        ec2_stub.add_response("describe_spot_price_history", {"SpotPriceHistory": found_now}, asked)
        for hour in ("0.20", "1.10", "1.10"):
            prices_stub.add_response("get_products", {"PriceList": [product("0.0", hour)]})
        prices = with_live_prices(read_prices(), file, pricing, ec2)
    assert prices.as_of == datetime.now(UTC).date()
    assert (prices.machine("g5.xlarge").hour, prices.machine("g5.xlarge").spot_hour) == (1.10, 0.35)
    spot = next(node for node in fleet_of(file, prices).workers if node.market == "spot")
    disk = spot.disk_gib * prices.disk_gib_month / 730
    assert (spot.hour(prices).least, spot.hour(prices).most) == pytest.approx((0.35 + disk, 1.10 + disk))
    assert prices.machine("Standard_D4s_v5") == read_prices().machine("Standard_D4s_v5")


def test_a_type_without_a_price_and_another_cloud_are_told(file: ClusterFile, tmp_path: Path) -> None:
    pricing, ec2 = client("pricing"), client("ec2")
    with Stubber(pricing) as prices_stub, Stubber(ec2) as ec2_stub:
        ec2_stub.add_response("describe_spot_price_history", {"SpotPriceHistory": []})
        for _ in range(3):
            prices_stub.add_response("get_products", {"PriceList": []})
        with pytest.raises(UserError, match=r"no price of g5\.xlarge, m6i\.xlarge in us-west-2"):
            with_live_prices(read_prices(), file, pricing, ec2)
    with pytest.raises(UserError, match="prices of now are asked of AWS alone; leave out --live"):
        with_live_prices(read_prices(), read_cluster(filled_in("gcp", tmp_path)))


def test_without_credentials_there_are_no_prices_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    command = ["cluster", "cost", "search_spaces/digits.yaml", "clusters/aws.yaml", "--live"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "AWS: no credentials found; run aws configure" in result.stderr


def with_l4(file: ClusterFile) -> ClusterFile:
    """With the second kind of GPU that the file has as a comment."""
    before, _, after = file.text.partition("  # gpu_spot_l4:\n")
    commented, _, rest = after.partition("  gpu_ondemand:")
    block = "".join(line.replace("  # ", "  ", 1) + "\n" for line in commented.splitlines())
    file.path.write_text(f"{before}  gpu_spot_l4:\n{block}  gpu_ondemand:{rest}")
    return read_cluster(file.path)


def test_several_kinds_of_gpu_in_a_spot_group_are_right_and_priced(file: ClusterFile) -> None:
    both = with_l4(file)
    assert list(both.node_types) == ["head", "gpu_spot", "gpu_spot_l4", "gpu_ondemand"]
    assert found(both) == []
    workers = [(node.machine_name, node.market) for node in fleet_of(both, read_prices()).workers]
    assert workers == [("g5.xlarge", "spot")] * 8 + [("g6.xlarge", "spot")] * 8 + [("g5.xlarge", "on-demand")] * 2
    assert {need.code: need.cpus for need in needs(both)}[SPOT] == 32


BLOCK = {
    "InstanceMarketOptions": {"MarketType": "capacity-block"},
    "CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}},
}


def h100(values: Any) -> None:
    """Eight H100 by a capacity block in place of spot instances."""
    types = values["available_node_types"]
    types["gpu_spot"]["node_config"] = copy.deepcopy(types["gpu_spot"]["node_config"]) | BLOCK
    types["gpu_spot"]["node_config"]["InstanceType"] = "p5.48xlarge"
    types["gpu_spot"].update(resources={"CPU": 192, "GPU": 8}, max_workers=1, labels={})
    del types["gpu_ondemand"]


def test_a_capacity_block_is_not_spot(tmp_path: Path) -> None:
    file = changed("aws", tmp_path, h100)
    assert found(file) == []
    assert market_of(file.node_types["gpu_spot"]) == "capacity-block"
    assert not is_spot(file.node_types["gpu_spot"])
    assert {need.code for need in needs(file)} == {STANDARD}
    prices = read_prices()
    (node,) = fleet_of(file, prices).workers
    assert node.hour(prices).least == node.hour(prices).most > 55
    lines = list(cost_lines(made(2), [], SPEEDS, fleet_of(file, prices), prices, date(2026, 6, 18)))
    assert "a capacity block is paid in advance, for all of its time; below are only the hours that are used" in lines
    assert any("1 p5.48xlarge (capacity-block)" in line for line in lines)


def test_the_block_of_the_guide_is_right(file: ClusterFile) -> None:
    guide = Path("docs/clusters.md").read_text()
    h100_type = guide[guide.index("  gpu_h100:\n") :].partition("```")[0]
    file.path.write_text(file.text.replace("  gpu_ondemand:", f"{h100_type}  gpu_ondemand:"))
    with_block = read_cluster(file.path)
    assert market_of(with_block.node_types["gpu_h100"]) == "capacity-block"
    assert found(with_block) == []


def test_a_block_needs_its_reservation_and_is_not_for_the_head(tmp_path: Path) -> None:
    def without(values: Any) -> None:
        h100(values)
        del values["available_node_types"]["gpu_spot"]["node_config"]["CapacityReservationSpecification"]

    assert [
        "it is of a capacity block, but not of which" in line for line in found(changed("aws", tmp_path, without))
    ] == [True]

    def head(values: Any) -> None:
        config = copy.deepcopy(values["available_node_types"]["head"]["node_config"])
        values["available_node_types"]["head"]["node_config"] = config | BLOCK

    assert ["the head is in a capacity block" in line for line in found(changed("aws", tmp_path, head))] == [True]


def test_the_sizes_in_the_prices_are_those_of_the_machines() -> None:
    for name, machine in read_prices().machines.items():
        size: Any = ec2_types().get(name) or gce_size(name) or azure_size(name)
        assert size is not None, name
        assert (machine.cpus, machine.gpus) == (size.cpus, size.gpus), name


def test_newer_gpus_have_prices() -> None:
    priced = {ec2_types()[name].gpu for name in read_prices().machines if name in ec2_types()}
    assert priced >= {"T4", "A10G", "L4", "L40S", "A100", "H100"}
