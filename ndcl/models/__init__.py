"""Backbones by name, and the network that a config means: features, then a linear head."""

from ndcl.models.build import BACKBONES, build_network, empty_network, network_of
from ndcl.models.context import put_in_context, put_in_context_of
from ndcl.models.network import HEAD, Network

__all__ = [
    "BACKBONES",
    "HEAD",
    "Network",
    "build_network",
    "empty_network",
    "network_of",
    "put_in_context",
    "put_in_context_of",
]
