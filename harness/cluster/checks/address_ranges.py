"""Ranges of addresses that let nearly everybody in, also where several of them only do so together. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

WIDEST_V4, WIDEST_V6 = 8, 32
"""Bits that a range has to fix at the least: no user's own network, nor a provider's, is wider."""


def open_ports(permissions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """`port 22 is`, `ports 1 to 9 are`: those that a security group's permissions open to everybody or nearly."""
    ranges: dict[str, list[str]] = {}
    for permission in permissions:
        entries = [*(permission.get("IpRanges") or ()), *(permission.get("Ipv6Ranges") or ())]
        given = [str(value) for entry in entries for key, value in entry.items() if key.startswith("Cidr")]
        ranges.setdefault(_ports(permission), []).extend(given)
    for ports, given in ranges.items():
        if lets_everybody_in(given):
            yield ports


def lets_everybody_in(ranges: Iterable[str]) -> bool:
    """Whether the ranges together are wider than any one's own network: 0.0.0.0/0, and its halves, too."""
    networks = list(_networks(ranges))
    v4 = ipaddress.collapse_addresses(network for network in networks if network.version == 4)
    v6 = ipaddress.collapse_addresses(network for network in networks if network.version == 6)
    return any(network.prefixlen < WIDEST_V4 for network in v4) or any(network.prefixlen < WIDEST_V6 for network in v6)


def _networks(ranges: Iterable[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in ranges:
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue


def _ports(permission: Mapping[str, Any]) -> str:
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if str(permission.get("IpProtocol", "tcp")) == "-1" or first is None:
        return "all ports are"
    return f"port {first} is" if first == last else f"ports {first} to {last} are"
