"""Backbones by name, and the network that a config means: features, then a linear head."""

from ndcl.models.build import BACKBONES, build_network, empty_network
from ndcl.models.network import HEAD, Network

__all__ = ["BACKBONES", "HEAD", "Network", "build_network", "empty_network"]
