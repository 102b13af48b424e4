"""Several processes that train one model, exactly as one would. Start at `group.py`."""

from ndcl.parallel.group import Group, local_device, resolve_device

__all__ = ["Group", "local_device", "resolve_device"]
