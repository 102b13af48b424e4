"""How many nodes of which resources a cluster waits for, and can have at most. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

Resources = Mapping[str, float]


def possible_nodes(config: Mapping[str, Any], there: Sequence[Resources]) -> list[Resources]:
    """The resources of each node that an autoscaler with this config may have at once: the head, then the largest.

    `there` are those of the nodes that are there; it stands where the config says nothing of what its types of nodes
    hold, as for machines that are the user's own.
    """
    types, head = config.get("available_node_types") or {}, config.get("head_node_type")
    workers = [spec for name, spec in types.items() if name != head and spec.get("resources")]
    if not workers:
        return list(there)
    ceiling = int(config["max_workers"])
    most = [spec["resources"] for spec in workers for _ in range(int(spec.get("max_workers", ceiling)))]
    most.sort(key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), reverse=True)
    return [types[head].get("resources", {}), *most[:ceiling]]


def awaited_nodes(config: Mapping[str, Any]) -> int:
    """How many nodes will be there without any trial's waiting: head and machines of the user's own."""
    if (config.get("provider") or {}).get("type") != "local":
        return 0
    return 1 + sum(int(spec.get("min_workers", 0)) for spec in config["available_node_types"].values())
