"""Parameters of a search space."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.config.strict import StrictModel
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


Parameter = Annotated[FloatParameter | IntParameter | ChoiceParameter, Field(discriminator="type")]


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
