"""Values of a config that are out of range: refused in one line, with the key, the value received and the rule."""

import math

from ndcl.errors import UserError


def require(ok: bool, key: str, value: object, rule: str) -> None:
    """Refuse a value out of range: the key, the value received, the rule. Raises UserError."""
    if not ok:
        raise UserError(f"{key}: {value!r} is out of range; {rule}")


def at_least(low: float, key: str, value: float) -> None:
    """Refuse what is no number of at least `low`. Raises UserError."""
    require(math.isfinite(value) and value >= low, key, value, f"it must be a number of at least {low:g}")


def positive(key: str, value: float) -> None:
    """Refuse what is not greater than 0. Raises UserError."""
    require(math.isfinite(value) and value > 0, key, value, "it must be greater than 0")


def within(low: float, high: float, key: str, value: float) -> None:
    """Refuse what is not in [low, high]. Raises UserError."""
    require(math.isfinite(value) and low <= value <= high, key, value, f"it must be in [{low:g}, {high:g}]")
