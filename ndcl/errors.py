"""The errors that are not bugs: a user's mistake, and a training that cannot go on."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, the remedy."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite, so that further steps would only spoil the parameters."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> UserError:
    """The error for a name that stands in no table: it lists the valid ones, the nearest first."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean '{near[0]}'? Valid" if near else "valid"
    return UserError(f"unknown {kind} '{name}'; {hint}: {', '.join(names)}")
