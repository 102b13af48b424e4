"""Prices of now, asked of AWS with the user's credentials: on demand, and spot in the cheapest zone."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.cluster.aws.session import answered
from harness.cluster.catalogue.ec2_types import ec2_types
from harness.cluster.files import ClusterFile
from harness.cluster.market import is_spot
from harness.cluster.prices import Machine, PriceList
from ndcl.errors import UserError

PRICE_LIST_REGION = "us-east-1"
"""Where AWS answers for all regions."""
LINUX = "Linux/UNIX"
ON_DEMAND = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "tenancy": "Shared",
    "capacitystatus": "Used",
}


def with_live_prices(prices: PriceList, file: ClusterFile, pricing: Any = None, ec2: Any = None) -> PriceList:
    """With today's prices of the machines that a cluster names; `pricing`, `ec2`: clients of these services.

    Raises UserError, with the remedy, where AWS can't be asked.
    """
    if file.kind != "aws":
        raise UserError(f"{file.path}: prices of now are asked of AWS alone; leave out --live")
    region = str(file.provider.get("region"))
    with answered():
        pricing = pricing or _client("pricing", PRICE_LIST_REGION)
        ec2 = ec2 or _client("ec2", region)
        spot_types = {file.machine(of["node_config"]) for of in file.node_types.values() if is_spot(of)}
        spot = _spot(ec2, spot_types)
        hours = {
            name: _on_demand(pricing, name, region)
            for _, _, config in file.node_configs()
            if (name := file.machine(config))
        }
    machines = {name: _machine(prices, name, hour, spot.get(name)) for name, hour in hours.items() if hour is not None}
    missing = sorted(hours.keys() - machines.keys())
    if missing:
        raise UserError(
            f"AWS names no price of {', '.join(missing)} in {region}; correct the type, or leave out --live"
        )
    return replace(prices, machines=prices.machines | machines, as_of=datetime.now(UTC).date())


def _machine(prices: PriceList, name: str, hour: float, spot_hour: float | None) -> Machine:
    known, size = prices.machines.get(name), ec2_types().get(name)
    cpus, gpus = (size.cpus, size.gpus) if size else (known.cpus, known.gpus) if known else (0, 0)
    return Machine(hour=hour, cpus=cpus, gpus=gpus, spot_hour=spot_hour)


def _on_demand(pricing: Any, name: str, region: str) -> float | None:
    wanted = {"instanceType": name, "regionCode": region, **ON_DEMAND}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    found = [json.loads(text) for text in pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"]]
    hours = [hour for product in found for hour in _hours(product)]
    return min(hours, default=None)


def _hours(product: Mapping[str, Any]) -> Iterable[float]:
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            hour = float(dimension["pricePerUnit"].get("USD", 0))
            if hour > 0:
                yield hour


def _spot(ec2: Any, names: set[str]) -> dict[str, float]:
    """The cheapest zone of each."""
    if not names:
        return {}
    answer = ec2.describe_spot_price_history(
        InstanceTypes=sorted(names), ProductDescriptions=[LINUX], StartTime=datetime.now(UTC)
    )
    least: dict[str, float] = {}
    for found in answer["SpotPriceHistory"]:
        name, hour = found["InstanceType"], float(found["SpotPrice"])
        least[name] = min(hour, least.get(name, hour))
    return least


def _client(service: str, region: str) -> Any:
    try:
        import boto3
    except ModuleNotFoundError:
        raise UserError("AWS's SDK is not installed; make install, or pip install boto3") from None
    return boto3.client(service, region_name=region)
