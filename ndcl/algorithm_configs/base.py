"""What the config of every algorithm is: its keys, the range in which each is searched, and where it comes from."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from ndcl.errors import UserError
from ndcl.ranges import at_least, within

Frequencies = Literal["per_domain", "pooled"]
"""Of which classes count as rare: those of each source domain, or of all of them together."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """A network that shows the backbone what the rows of a domain have in common: `ndcl.models.context`."""

    width: int
    """Channels within it."""
    is_trained: bool = True


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """Base of all; a subclass has its name as the default of `name`, and a line for each class variable."""

    name: str

    title: ClassVar[str]
    """In tables for people."""
    paper: ClassVar[str]
    """Who published it, and where."""
    implementation: ClassVar[str]
    """`module:Class` of the subclass of `ndcl.algorithms.Algorithm`; imported when a training is built. Of an algorithm
    of the user's own it is its name."""
    family: ClassVar[str | None] = None
    """Of algorithms that work alike, in tables of many; None: that of its file (`families.py`)."""
    shares_and_steps: ClassVar[dict[str, str]] = {}
    """Keys that are shares of the training's steps, each with the key that says the same in steps, and goes before."""
    moves_features_alone: ClassVar[bool] = False
    """Whether all that it adds to ERM goes to the backbone: of the backbone linear, which has nothing to learn, it
    would be ERM."""
    makes_head: ClassVar[bool] = False
    """Whether it puts a head of its own, drawn by the training's seed, in place of the network's."""
    structure: ClassVar[tuple[str, ...]] = ()
    """Keys on which its own networks depend, so that a training that has begun can't change them."""
    passes: ClassVar[float] = 1.0
    """What its passes through the backbone cost beside those of ERM, on average over steps, with default values; a
    forward pass is a third of a step. `benchmarks/algorithms.py` measures whole steps beside it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Beyond the logits of a batch: `features`, `own network`, `state`, `second pass`, `pass per domain`,
    `images`, `whole batch`."""

    @classmethod
    def class_path(cls) -> str:
        """`module:Class` of what implements it."""
        return getattr(cls, "implementation", cls.own_name())

    @classmethod
    def own_name(cls) -> str:
        """The name that users write."""
        [name] = (str(each.default) for each in fields(cls) if each.name == "name")
        return name

    @classmethod
    def search_space(cls) -> dict[str, dict[str, Any]]:
        """Key to the parameter that a search file gives it (docs/search_space.md): range or choices, and default."""
        found = {}
        for each in fields(cls):
            if "search" in each.metadata:
                found[each.name] = {**each.metadata["search"], "default": each.default}
        return found

    def in_steps(self, share: str, num_steps: int) -> int:
        """A share of a training of `num_steps`, by its key, in steps: as given, or rounded."""
        given: int | None = getattr(self, self.shares_and_steps[share])
        return round(getattr(self, share) * num_steps) if given is None else given

    def balanced_from(self, num_steps: int) -> int | None:
        """The first step of `num_steps` with class-balanced batches, whatever resampling says; or None."""
        return None

    @property
    def context(self) -> Context | None:
        """A network before the backbone, if there is one: then a batch is of images, and whole on one worker."""
        return None

    def idle_keys(self) -> dict[str, str]:
        """Keys that change nothing with what the others choose, each with the reason."""
        return {
            share: f"algorithm.{steps} says it in steps"
            for share, steps in self.shares_and_steps.items()
            if getattr(self, steps) is not None
        }

    @property
    def shares_in_use(self) -> tuple[str, ...]:
        """Keys by which the length of the training changes its steps: shares of it that are not said in steps."""
        return tuple(share for share, steps in self.shares_and_steps.items() if getattr(self, steps) is None)


def searched(default: Any, low: float, high: float, *, log: bool = False) -> Any:
    """A field with a default and the range in which a search looks for a better value, both ends included."""
    kind = "int" if isinstance(default, int) else "float"
    return field(
        default=default,
        metadata={"search": {"type": kind, "low": low, "high": high, **({"log": True} if log else {})}},
    )


def one_of(default: Any, *choices: Any) -> Any:
    """A field with a default and the values that a search tries."""
    return field(default=default, metadata={"search": {"type": "choice", "choices": list(choices)}})


@dataclass(frozen=True, kw_only=True)
class PenalizedConfig(AlgorithmConfig):
    """Of an algorithm whose penalty gets its full weight later: at a share of the training, or at a given step.

    Releases give steps, and assume 5,001 of them.
    """

    shares_and_steps: ClassVar[dict[str, str]] = {"penalty_from_share": "penalty_from_step"}
    penalty_from_share: float = searched(0.1, 0.0, 0.5)
    """Share of the steps that are done when the penalty gets its full weight; the optimiser then begins anew."""
    penalty_from_step: int | None = None
    """The same as a number of steps, which then goes before."""

    def __post_init__(self) -> None:
        for share, steps in self.shares_and_steps.items():
            within(0, 1, share, getattr(self, share))
            if getattr(self, steps) is not None:
                at_least(0, steps, getattr(self, steps))

    def penalty_start(self, num_steps: int) -> int:
        """The first step, from 0, with the full penalty."""
        return self.in_steps("penalty_from_share", num_steps)


def several_domains(name: str, num_domains: int, least: int = 2) -> None:
    """Refuse fewer source domains than an algorithm needs. Raises UserError."""
    if num_domains < least:
        raise UserError(
            f"algorithm.name: {name} compares source domains and needs at least {least}, found {num_domains}; choose "
            "another algorithm, or a data set with more domains"
        )
