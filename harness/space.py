"""The search space: typed parameters by the dotted TrainConfig key they set, suggested through an Optuna trial.

A parameter can depend on others: `when: {algorithm.beta: [0.1, 1]}` has it drawn only in trials in which the other
key, searched or fixed, has one of these values; elsewhere it keeps its fixed value.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harness.strict import StrictModel
from ndcl.errors import UserError

if TYPE_CHECKING:
    import optuna

Scalar = bool | int | float | str | None


def _condition(values: Any) -> Any:
    """Each key's accepted values as a list; one alone needs no brackets."""
    if not isinstance(values, dict):
        return values
    return {key: value if isinstance(value, (list, tuple)) else [value] for key, value in values.items()}


Condition = Annotated[
    dict[str, Annotated[tuple[Scalar, ...], Field(min_length=1)]], BeforeValidator(_condition), Field(min_length=1)
]
"""Accepted values by dotted key; all keys must have one of theirs."""

NEVER_SEARCHED = {
    "imbalance": "the imbalance is the problem's difficulty, and a search would choose the easy problem; "
    "list several settings under the sweep's `imbalance` instead",
    "data": "the data are the problem, not a choice; list data sets and targets under the sweep's `data` instead",
    "seed": "a search over seeds picks luck; the number of seeds stands under `final.seeds`",
    "oracle": "the oracle sees the target domain, which a search must not",
    "num_steps": "every trial needs the same budget to be compared with the others; set it under `train`",
    "select_by": "all trials need the same objective to be compared; set it under `search.objective`",
    "evaluate_every": "every trial needs the same checkpoints to be compared with the others; set it under `train`",
    "device": "the device does not change what is learned; set it under `train`",
    "precision": "it decides speed more than what is learned; set it under `train`",
    "micro_batch_size": "it does not change what is learned; set it under `train`",
    "sharding": "it does not change what is learned; set it under `train`",
    "compile": "it does not change what is learned; set it under `train`",
    "activation_checkpointing": "it does not change what is learned; set it under `train`",
    "algorithm.name": "each algorithm has its own study; list it under `algorithms`",
}
"""Keys, with all below them, that no search may set, and why."""


class FloatParameter(StrictModel):
    """A real number between two bounds, both included."""

    type: Literal["float"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False
    """Draw the logarithm evenly, for values that span magnitudes."""
    step: float | None = Field(default=None, gt=0)
    """Draw multiples of the step above `low` only."""
    default: float | None = None
    """Tried first."""
    when: Condition | None = None
    """Searched only where these keys have one of these values."""

    @model_validator(mode="after")
    def _check(self) -> "FloatParameter":
        _check_range(self)
        return self

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """What `suggest` asks a trial for."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: "optuna.trial.BaseTrial", key: str) -> float:
        """A value from the trial."""
        return trial.suggest_float(key, self.low, self.high, log=self.log, step=self.step)

    @property
    def has_default(self) -> bool:
        """Whether a value is to be tried first."""
        return self.default is not None

    def probes(self) -> tuple[float, ...]:
        """Values that a valid key accepts: both ends, and one inside, which finds a key for whole numbers."""
        ends = (self.low, self.high)
        return ends if self.step is not None else (*ends, self.low + 0.382 * (self.high - self.low))

    def at(self, position: float) -> float:
        """The value at `position` in [0, 1) of the range."""
        if self.step is not None:
            return self.low + self.step * int(position * (round((self.high - self.low) / self.step) + 1))
        return _between(self.low, self.high, position, self.log)

    def grid(self) -> tuple[float, ...] | None:
        """All values, or None if there is no end of them."""
        if self.low == self.high:
            return (self.low,)
        if self.step is None:
            return None
        return tuple(self.low + self.step * k for k in range(round((self.high - self.low) / self.step) + 1))

    def accepts(self, value: Any) -> bool:
        """Whether `value` could have been drawn."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high and _on_grid(value - self.low, self.step)


class IntParameter(StrictModel):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    """Draw the logarithm evenly, for values that span magnitudes."""
    step: int = Field(default=1, ge=1)
    """Draw multiples of the step above `low` only."""
    default: int | None = None
    """Tried first."""
    when: Condition | None = None
    """Searched only where these keys have one of these values."""

    @model_validator(mode="after")
    def _check(self) -> "IntParameter":
        _check_range(self)
        return self

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """What `suggest` asks a trial for."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: "optuna.trial.BaseTrial", key: str) -> int:
        """A value from the trial."""
        return trial.suggest_int(key, self.low, self.high, log=self.log, step=self.step)

    @property
    def has_default(self) -> bool:
        """Whether a value is to be tried first."""
        return self.default is not None

    def probes(self) -> tuple[int, ...]:
        """Both ends."""
        return self.low, self.high

    def at(self, position: float) -> int:
        """The value at `position` in [0, 1) of the range."""
        if self.log:
            return min(self.high, int(_between(self.low, self.high + 1, position, log=True)))
        return self.low + self.step * int(position * ((self.high - self.low) // self.step + 1))

    def grid(self) -> tuple[int, ...]:
        """All values."""
        return tuple(range(self.low, self.high + 1, self.step))

    def accepts(self, value: Any) -> bool:
        """Whether `value` could have been drawn."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and self.low <= value <= self.high and _on_grid(value - self.low, self.step)


class ChoiceParameter(StrictModel):
    """One of several values, without an order."""

    type: Literal["choice"]
    choices: tuple[Scalar, ...] = Field(min_length=1)
    """Numbers, texts, true, false or null."""
    default: Scalar = None
    """Tried first. It can be null: what counts is whether it is written down."""
    when: Condition | None = None
    """Searched only where these keys have one of these values."""

    @model_validator(mode="after")
    def _check(self) -> "ChoiceParameter":
        if len({(type(c), c) for c in self.choices}) < len(self.choices):
            raise UserError(f"choices: {list(self.choices)} names a value twice; leave one out")
        if self.has_default and self.default not in self.choices:
            raise UserError(f"default: {self.default!r} is not among the choices {list(self.choices)}; add it there")
        return self

    @model_serializer(mode="wrap")
    def _without_unset_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return values if self.has_default else {key: v for key, v in values.items() if key != "default"}

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """What `suggest` asks a trial for."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def suggest(self, trial: "optuna.trial.BaseTrial", key: str) -> Scalar:
        """A value from the trial."""
        return trial.suggest_categorical(key, self.choices)

    @property
    def has_default(self) -> bool:
        """Whether a value is to be tried first."""
        return "default" in self.model_fields_set

    def probes(self) -> tuple[Scalar, ...]:
        """All choices."""
        return self.choices

    def at(self, position: float) -> Scalar:
        """The choice at `position` in [0, 1) of their list."""
        return self.choices[int(position * len(self.choices))]

    def grid(self) -> tuple[Scalar, ...]:
        """All choices."""
        return self.choices

    def accepts(self, value: Any) -> bool:
        """Whether `value` could have been drawn."""
        return value in self.choices


def _check_range(parameter: FloatParameter | IntParameter) -> None:
    low, high, default = parameter.low, parameter.high, parameter.default
    if low > high:
        raise UserError(f"low: {low} is greater than high, which is {high}; exchange them")
    if parameter.log and low <= 0:
        raise UserError(f"low: {low} has no logarithm; with log: true it must be greater than 0")
    if parameter.log and parameter.step not in (None, 1):
        raise UserError("step: it can't be combined with log: true; leave one of them out")
    if default is not None and not low <= default <= high:
        raise UserError(f"default: {default} is out of range; it must be from {low} to {high}")
    for name, value in (("high", high), ("default", default)):
        if value is not None and not _on_grid(value - low, parameter.step):
            raise UserError(f"{name}: {value} is no whole number of steps of {parameter.step} above {low}; move it")


def _between(low: float, high: float, position: float, log: bool) -> float:
    value = low * (high / low) ** position if log else low + (high - low) * position
    return float(min(max(value, low), high))


def _on_grid(distance: float, step: float | None) -> bool:
    return step is None or abs(distance / step - round(distance / step)) < 1e-9


def _searchable(space: "dict[str, Parameter]") -> "dict[str, Parameter]":
    for key in space:
        for never, reason in NEVER_SEARCHED.items():
            if f"{key}.".startswith(f"{never}."):
                raise UserError(f"{key}: it can't be searched: {reason}")
    return space


Parameter = Annotated[FloatParameter | IntParameter | ChoiceParameter, Field(discriminator="type")]
Space = Annotated[dict[str, Parameter], AfterValidator(_searchable)]


def in_order(space: Space) -> dict[str, Parameter]:
    """The space with every parameter behind those that it depends on. Raises UserError for a circle."""
    ordered: dict[str, Parameter] = {}
    while len(ordered) < len(space):
        ready = [key for key, p in space.items() if key not in ordered and not _open_conditions(p, space, ordered)]
        if not ready:
            circle = ", ".join(sorted(set(space) - set(ordered)))
            raise UserError(f"when: {circle} depend on each other in a circle; take one condition out")
        ordered[ready[0]] = space[ready[0]]
    return ordered


def _open_conditions(parameter: Parameter, space: Space, ordered: Mapping[str, Any]) -> list[str]:
    return [key for key in parameter.when or () if key in space and key not in ordered]


def is_active(parameter: Parameter, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> bool:
    """Whether a parameter is searched in a trial with these `values`, and those `fixed` for all, by dotted key.

    A parameter that depends on one that is not searched in this trial sees the latter's fixed value.
    """
    return all(values.get(key, fixed.get(key)) in accepted for key, accepted in (parameter.when or {}).items())


def suggest(trial: "optuna.trial.BaseTrial", space: Space, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every active parameter, by dotted key, drawn by the trial's sampler; `fixed` are all other values."""
    values: dict[str, Any] = {}
    for key, parameter in in_order(space).items():
        if is_active(parameter, values, fixed):
            values[key] = parameter.suggest(trial, key)
    return values


def defaults(space: Space) -> dict[str, Any]:
    """The values to try first, by dotted key; parameters without a default are left out."""
    return {key: parameter.default for key, parameter in space.items() if parameter.has_default}


def grid(space: Space, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All combinations of values, each once. Raises UserError for a parameter with endlessly many."""
    for key, parameter in space.items():
        if parameter.grid() is None:
            raise UserError(f"space.{key}: a grid needs a finite list of values; give it a step, or make it a choice")
    yield from _combinations(space, fixed, lambda parameter: parameter.grid() or ())


def extremes(space: Space, fixed: Mapping[str, Any], keys: Collection[str]) -> Iterator[dict[str, Any]]:
    """All combinations of the probes of those of the parameters `keys` that are there: one, of nothing, without any.

    A parameter that depends on others than `keys` is taken as searched, since in some trial it may be.
    """
    among = {key: _among(parameter, {*keys, *fixed}) for key, parameter in space.items() if key in keys}
    yield from _combinations(among, fixed, lambda parameter: parameter.probes())


def _among(parameter: Parameter, keys: Collection[str]) -> Parameter:
    """The parameter without conditions on any but `keys`."""
    when = {key: accepted for key, accepted in (parameter.when or {}).items() if key in keys}
    return parameter.model_copy(update={"when": when})


def _combinations(
    space: Space, fixed: Mapping[str, Any], values_of: Callable[[Parameter], Sequence[Any]]
) -> Iterator[dict[str, Any]]:
    yield from _combinations_below({}, list(in_order(space).items()), fixed, values_of)


def _combinations_below(
    values: dict[str, Any],
    rest: list[tuple[str, Parameter]],
    fixed: Mapping[str, Any],
    values_of: Callable[[Parameter], Sequence[Any]],
) -> Iterator[dict[str, Any]]:
    if not rest:
        yield values
        return
    (key, parameter), *others = rest
    if not is_active(parameter, values, fixed):
        yield from _combinations_below(values, others, fixed, values_of)
        return
    for value in values_of(parameter):
        yield from _combinations_below({**values, key: value}, others, fixed, values_of)


def at_position(space: Space, position: Mapping[str, float]) -> dict[str, Any]:
    """The values at a point of the unit cube, a coordinate in [0, 1) by key."""
    return {key: parameter.at(position[key]) for key, parameter in space.items()}
