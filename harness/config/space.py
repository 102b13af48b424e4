"""The search space: typed parameters by the dotted TrainConfig key they set, suggested through an Optuna trial.

A parameter can depend on others: `when: {algorithm.beta: [0.1, 1]}` has it drawn only in trials in which the other
key, searched or fixed, has one of these values; elsewhere it keeps its fixed value.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from harness.config.parameters import Parameter
from ndcl.errors import UserError

if TYPE_CHECKING:
    import optuna

NEVER_SEARCHED = {
    "imbalance": "the imbalance is the problem's difficulty, and a search would choose the easy problem; "
    "list several settings under the sweep's `imbalance` instead",
    "data": "the data are the problem, not a choice; list data sets and targets under the sweep's `data` instead",
    "seed": "a search over seeds picks luck; the number of seeds stands under `final.seeds`",
    "oracle": "the oracle sees the target domain, which a search must not",
    "num_steps": "every trial needs the same budget to be compared with the others; set it under `train`",
    "select_by": "all trials need the same objective to be compared; set it under `search.objective`",
    "evaluate_every": "every trial needs the same checkpoints to be compared with the others; set it under `train`",
    "evaluate_target": "it changes nothing that is learned; set it under `search.evaluate_target`",
    "device": "the device does not change what is learned; set it under `train`",
    "precision": "it decides speed more than what is learned; set it under `train`",
    "micro_batch_size": "it does not change what is learned; set it under `train`",
    "sharding": "it does not change what is learned; set it under `train`",
    "profile": "it does not change what is learned; set it under `train`",
    "compile": "it does not change what is learned; set it under `train`",
    "activation_checkpointing": "it does not change what is learned; set it under `train`",
    "algorithm.name": "each algorithm has its own study; list it under `algorithms`",
}
"""Keys, with all below them, that no search may set, and why."""
SEARCHED_ALL_THE_SAME = ("data.augment", "data.transform")
"""Keys below these that are choices of the method."""


def _searchable(space: "dict[str, Parameter]") -> "dict[str, Parameter]":
    for key in space:
        for never, reason in NEVER_SEARCHED.items():
            if f"{key}.".startswith(f"{never}.") and key not in SEARCHED_ALL_THE_SAME:
                raise UserError(f"{key}: it can't be searched: {reason}")
    return space


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
