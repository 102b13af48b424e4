"""The search space: typed parameters by the dotted TrainConfig key they set, suggested through an Optuna trial."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from harness.strict import StrictModel
from ndcl.errors import UserError

if TYPE_CHECKING:
    import optuna

Scalar = bool | int | float | str | None

NEVER_SEARCHED = {
    "imbalance": "the imbalance is the problem's difficulty, and a search would choose the easy problem; "
    "list several settings under the sweep's `imbalance` instead",
    "data": "the data are the problem, not a choice; list data sets and targets under the sweep's `data` instead",
    "seed": "a search over seeds picks luck; the number of seeds stands under `final.seeds`",
    "oracle": "the oracle sees the target domain, which a search must not",
    "num_steps": "every trial needs the same budget to be compared with the others; set it under `train`",
    "evaluate_every": "every trial needs the same checkpoints to be compared with the others; set it under `train`",
    "device": "the device does not change what is learned; set it under `train`",
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

    @model_validator(mode="after")
    def _check(self) -> "FloatParameter":
        _check_range(self)
        return self

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

    @model_validator(mode="after")
    def _check(self) -> "IntParameter":
        _check_range(self)
        return self

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


class ChoiceParameter(StrictModel):
    """One of several values, without an order."""

    type: Literal["choice"]
    choices: tuple[Scalar, ...] = Field(min_length=1)
    """Numbers, texts, true, false or null."""
    default: Scalar = None
    """Tried first. It can be null: what counts is whether it is written down."""

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


def suggest(trial: "optuna.trial.BaseTrial", space: Space) -> dict[str, Any]:
    """A value for every parameter, by dotted key, drawn by the trial's sampler."""
    return {key: parameter.suggest(trial, key) for key, parameter in space.items()}


def defaults(space: Space) -> dict[str, Any]:
    """The values to try first, by dotted key; parameters without a default are left out."""
    return {key: parameter.default for key, parameter in space.items() if parameter.has_default}
