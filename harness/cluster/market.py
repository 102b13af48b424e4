"""How a node type's machines are rented: on demand, as spot, or in a block that was reserved. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

Market = Literal["on-demand", "spot", "capacity-block"]
LABEL = "ray.io/market-type"


def market_of(node_type: Mapping[str, Any]) -> Market:
    """By what the cloud is told; where it is told nothing, by the label."""
    told = _told(node_type.get("node_config") or {})
    if told is not None:
        return told
    return "spot" if (node_type.get("labels") or {}).get(LABEL) == "spot" else "on-demand"


def is_spot(node_type: Mapping[str, Any]) -> bool:
    """Whether the cloud may take its machines back at any time, and may have none."""
    return market_of(node_type) == "spot"


def _told(config: Mapping[str, Any]) -> Market | None:
    """By AWS's, Google's or Azure's own key."""
    options = config.get("InstanceMarketOptions")
    if isinstance(options, Mapping):
        market = options.get("MarketType", "spot")
        return "capacity-block" if market == "capacity-block" else "spot" if market == "spot" else "on-demand"
    scheduling, arm = config.get("scheduling"), config.get("azure_arm_parameters")
    if isinstance(scheduling, Mapping) and (
        scheduling.get("provisioningModel") == "SPOT" or scheduling.get("preemptible")
    ):
        return "spot"
    if isinstance(arm, Mapping) and arm.get("priority") in ("Spot", "Low"):
        return "spot"
    return None
