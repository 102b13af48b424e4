"""The errors that are not bugs: a user's mistake, and a training that cannot continue."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, the remedy."""


class UnusableGpuError(UserError):
    """A GPU is meant to be used, and torch can't use it: a matter of this machine, not of what is trained."""


class ReplacedDataError(UserError):
    """Another data set lies under the name of one that a sweep is bound to."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite, so that further steps would only spoil the parameters."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> UserError:
    """The error for a name that stands in no table: it lists the valid ones, the nearest first."""
    names = sorted(valid)
    folded = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    hint = f"did you mean '{folded[near[0]]}'? Valid" if near else "valid"
    return UserError(f"unknown {kind} '{name}'; {hint}: {', '.join(names)}")
