"""Every key of a sweep with every kind of wrong value: the answer is our own line, with the key and the remedy."""

import copy
import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from harness.config import SweepConfig, load_sweep
from harness.config.strict import first_error
from ndcl.errors import UserError

FULL: dict[str, Any] = {
    "name": "full",
    "data": [{
        "name": "digits", "targets": ["sign", "scan"], "folder": None, "augment": True, "image_size": 16, "workers": 0,
        "augment_on": "auto", "standardize": False, "transform": "none",
    }],
    "imbalance": [{"setting": "long_tail", "ratio": 65, "label": "tail"}],
    "train": {"num_steps": 20, "optimizer.learning_rate": 0.1},
    "space": {
        "resampling_ratio": {"type": "choice", "choices": [None, 10, 1], "default": 10},
        "optimizer.weight_decay": {"type": "float", "low": 0.1, "high": 0.5, "log": False, "step": 0.2, "default": 0.1},
        "batch_size": {"type": "int", "low": 4, "high": 8, "log": False, "step": 2, "default": 4},
    },
    "algorithms": {
        "erm": None,
        "mine": {
            "algorithm": "ndcl",
            "train": {"algorithm.alpha": 1.0},
            "space": {
                "algorithm.beta": {"type": "float", "low": 0.1, "high": 1, "when": {"algorithm.alpha": [1.0]}},
            },
        },
    },
    "overrides": [{"data": "digits", "target": "sign", "algorithm": "erm", "train": {"num_steps": 10}, "space": {}}],
    "search": {
        "num_trials": 4, "objective": ["validation_accuracy"], "sampler": "tpe", "seed": 0,
        "scheduler": {"name": "asha", "min_resource": 1, "reduction_factor": 3},
        "warm_start": {"sweep": "other", "num_trials": 3, "algorithm": "erm", "from_other_targets": False},
    },
    "final": {"seeds": 3, "top_k": 1, "resources": {"cpus_per_trial": 1.0, "gpus_per_trial": 0.0}},
    "resources": {
        "workers_per_trial": {"min": 2, "max": 4}, "cpus_per_worker": 1.0, "gpus_per_worker": 0, "placement": "PACK",
        "max_concurrent": 2, "keep_checkpoints": "all",
    },
    "tracking": {"uri": None, "figures": True},
}  # fmt: skip
WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 2.5, float("nan"), float("inf"), 10**30, "", "x", "a b/c", [], [5], ["x", None], [[1]], {},
    {"a": 1}, {"name": 5}, {3: 4}, datetime.date(2026, 11, 28), b"bytes",
)  # fmt: skip
FOREIGN = re.compile(
    r"input should|string should|field required|extra inputs|value error|valid (integer|number|string|dictionary|list|"
    r"tuple|boolean)|pydantic|instance of|\bliteral\b|\btuple\b|\bdictionary\b|unable to|for further|type=|at most \d+ "
    r"items|should have|NoneType|expected (int|str|float|bool|dict)",
    re.IGNORECASE,
)
"""Words of pydantic and of Python."""


def places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from places(value, (*place, key))


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    sweep = copy.deepcopy(FULL)
    node: Any = sweep
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return sweep


def without(place: tuple[Any, ...]) -> dict[str, Any]:
    sweep = copy.deepcopy(FULL)
    node: Any = sweep
    for key in place[:-1]:
        node = node[key]
    del node[place[-1]]
    return sweep


def answer(sweep: Any) -> str | None:
    """What `load_sweep` says of a file with these values, without the time that YAML takes."""
    try:
        SweepConfig.model_validate(sweep)
    except ValidationError as error:
        return first_error(error, sweep)
    return None


def require_clear(message: str, place: tuple[Any, ...], value: Any) -> None:
    said = message.replace(repr(value), "...")
    assert "\n" not in message
    assert not FOREIGN.search(said), f"{place} = {value!r}: {message}"
    where, _, what = message.partition(": ")
    assert what, f"{place} = {value!r}: {message}"
    assert where.split(".")[0].split("[")[0] == str(place[0]), f"{place} = {value!r}: {message}"
    assert re.search(r"; |expected |did you mean|valid keys", what), f"no remedy: {place} = {value!r}: {message}"


def test_the_sweep_to_be_spoiled_is_right() -> None:
    assert answer(FULL) is None


@pytest.mark.parametrize("key", FULL)
def test_a_wrong_value_gets_a_line_of_our_own(key: str) -> None:
    num_refused = 0
    for place in [place for place in places(FULL) if place[0] == key]:
        for value in WRONG:
            message = answer(changed(place, value))
            num_refused += message is not None
            if message is not None:
                require_clear(message, place, value)
    assert num_refused > 5


def test_what_lacks_or_is_unknown_gets_a_line_of_our_own() -> None:
    for place in places(FULL):
        for sweep in (without(place), changed((*place[:-1], "unknown"), 1)) if isinstance(place[-1], str) else ():
            message = answer(sweep)
            if message is not None:
                assert not FOREIGN.search(message), f"{place}: {message}"
                assert message.split(":")[0].split(".")[0] in FULL or message.startswith("unknown"), message


def test_a_file_of_another_form_gets_a_line_of_our_own(tmp_path: Path) -> None:
    for value in WRONG:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(value))
        with pytest.raises(UserError) as caught:
            load_sweep(path)
        assert not FOREIGN.search(str(caught.value).replace(repr(value), "...")), value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("search", "num_trials"), "many", "search.num_trials: expected a whole number, got 'many'"),
        (("search", "num_trials"), 0, "search.num_trials: 0 is out of range; it must be at least 1"),
        (("final", "seeds"), 2.5, "final.seeds: expected a whole number, got 2.5"),
        (("search", "sampler"), "bayes", "search.sampler: 'bayes' is not valid; choose one of tpe, gp, cmaes, "),
        (("data", 0, "targets"), {}, "data.0.targets: expected text (in quotes, if"),
        (
            ("data", 0, "targets"),
            [[]],
            "data.0.targets.0: expected text (in quotes, if it looks like",
        ),
        (("train",), 3, "train: expected a mapping of keys to values, got 3"),
        (("space", "batch_size", "type"), "real", "space.batch_size: unknown type 'real'; choose one of float, int, "),
        (("tracking", "figures"), "perhaps", "tracking.figures: expected true or false, got 'perhaps'"),
        (("algorithms",), {}, "algorithms: expected at least 1 entry, got {}"),
    ],
)
def test_lines_say_what_where_and_the_remedy(place: tuple[Any, ...], value: Any, message: str) -> None:
    assert (answer(changed(place, value)) or "").startswith(message)
