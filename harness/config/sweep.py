"""What a user writes: a sweep in one YAML file, read once, checked strictly. `docs/search_space.md` is its guide."""

import datetime
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from harness.config.demand import Demand
from harness.config.dotted_keys import flat
from harness.config.kinds import require_kind
from harness.config.names import DataName, Name, SweepName, Text
from harness.config.resources import ResourceSpec, TrialResources
from harness.config.search import SearchSpec
from harness.config.space import Space
from harness.config.strict import StrictModel, first_error, listed, value_check
from harness.config.tracking_uri import require_known, require_no_secrets
from harness.config.yaml_files import parse_setting, read_yaml
from harness.records import Stage, StudyKey
from ndcl.algorithm_configs import config_class, is_own
from ndcl.config import DataConfig, ImbalanceConfig
from ndcl.criteria import CROSS_VALIDATED
from ndcl.errors import UserError
from ndcl.strict import from_dict, to_dict, unknown_key

FIXED_ELSEWHERE = {
    "data": "write it under the sweep's `data`",
    "imbalance": "write it under the sweep's `imbalance`",
    "select_by": "write it under the sweep's `search.objective`",
    "evaluate_target": "write it under the sweep's `search.evaluate_target`",
    "seed": "search trials use seed 0, final runs the seeds from 1 on; see `final.seeds`",
    "algorithm.name": "it is the algorithm's name under `algorithms`",
}
"""TrainConfig keys that `train` can't set, and where they are set instead."""


def _train_values(values: dict[str, Any]) -> dict[str, Any]:
    """TrainConfig values by dotted key; nested ones are accepted."""
    values = flat(values)
    for key in values:
        for elsewhere, remedy in FIXED_ELSEWHERE.items():
            if f"{key}.".startswith(f"{elsewhere}."):
                raise UserError(f"{key}: it is not a value of `train`; {remedy}")
    return values


def _named(values: Any) -> Any:
    return {"name": values} if isinstance(values, (str, int, float, datetime.date)) else values


def _targets(values: Any) -> Any:
    return values if isinstance(values, (list, tuple)) or values == "all" else [values]


def _empty(values: Any) -> Any:
    return {} if values is None else values


def _algorithms(values: Any) -> Any:
    """A list of names, or one, as a mapping, in which each algorithm is searched in its own ranges."""
    if not isinstance(values, (str, list, tuple)):
        return values
    found: dict[str, Any] = {}
    for name in [values] if isinstance(values, str) else values:
        if not isinstance(name, str):
            raise UserError(
                f"{name}: a list takes names alone, such as [erm, ndcl]; to give values write a mapping "
                "(docs/search_space.md)"
            )
        label = name.rpartition(":")[2]
        if label in found:
            raise UserError(f"{label}: it stands there twice; remove one")
        try:
            space = config_class(name).search_space()
        except UserError as error:
            raise UserError(f"{label}: {error}") from None
        found[label] = {"algorithm": name} if is_own(name) else {}
        found[label]["space"] = {f"algorithm.{key}": parameter for key, parameter in space.items()}
    return found


def _settings(values: Any) -> Any:
    """A list of settings, in which a list of ratios has become as many settings."""
    result = []
    for value in listed(values):
        ratios = value.get("ratio") if isinstance(value, dict) else None
        if ratios == []:
            raise UserError("ratio: expected a number or several, got []; give one, or remove it")
        result += [_with_ratio(value, ratio) for ratio in ratios] if isinstance(ratios, (list, tuple)) else [value]
    return result


def _with_ratio(value: dict[str, Any], ratio: Any) -> dict[str, Any]:
    """One of a list's settings; the label of all is the beginning of its name."""
    label = value.get("label")
    is_named = isinstance(label, str) and isinstance(ratio, (int, float))
    return {**value, "ratio": ratio, **({"label": f"{label}-{ratio:g}"} if is_named else {})}


TrainValues = Annotated[dict[str, Any], BeforeValidator(_empty), AfterValidator(_train_values)]
SpaceBlock = Annotated[Space, BeforeValidator(_empty)]


class Block(StrictModel):
    """TrainConfig values that are fixed, and those that are searched, by dotted key."""

    train: TrainValues = Field(default_factory=dict)
    space: SpaceBlock = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fixed_or_searched(self) -> "Block":
        for key in self.train:
            if key in self.space:
                raise UserError(f"train.{key}: it is both fixed here and searched in `space`; leave one out")
        return self


class DataSpec(StrictModel):
    """One data set and its target domains, each of which gets its own studies; and what else stands in DataConfig."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: DataName
    targets: Annotated[Annotated[tuple[Text, ...], Field(min_length=1)] | Literal["all"], BeforeValidator(_targets)] = (
        "all"
    )
    folder: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_the_config(cls, values: Any) -> Any:
        """The values with DataConfig's defaults, each of its type."""
        if not isinstance(values, dict):
            return values
        for key in values:
            if key not in ("targets", *cls.defaults()):
                raise UserError(unknown_key(str(key), ["targets", *cls.defaults()], ""))
        own = {key: value for key, value in values.items() if key in cls.model_fields}
        others = {key: value for key, value in values.items() if key not in own}
        made = to_dict(from_dict(DataConfig, {"name": "", "target": "", **others}))
        return own | {key: made[key] for key in cls.defaults() if key not in cls.model_fields}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What each of a data set's keys is if it isn't given, `targets` apart; of `name` that is nothing."""
        return {f.name: f.default for f in fields(DataConfig) if f.name != "target"}


class ImbalanceSpec(StrictModel):
    """One imbalance setting: the keys of `ndcl.config.ImbalanceConfig`, and a label."""

    model_config = ConfigDict(frozen=True, extra="allow")
    label: Name | None = None
    """Name of the setting in studies and tables, where its own name and ratio don't tell it from others. With a list of
    ratios it is followed by each: `shared-10`."""

    @model_validator(mode="after")
    def _valid(self) -> "ImbalanceSpec":
        from_dict(ImbalanceConfig, self.values)
        return self

    @property
    def values(self) -> dict[str, Any]:
        """The values of the ImbalanceConfig that are written down."""
        return dict(self.model_extra or {})


class AlgorithmSpec(Block):
    """What one algorithm fixes and searches beyond what all share."""

    algorithm: str | None = None
    """Name of the algorithm, if the entry is called otherwise, as two variants of one algorithm must be."""


class Override(Block):
    """Values and parameters for the studies that match all the names given."""

    data: Text | None = None
    target: Text | None = None
    algorithm: Text | None = None

    @model_validator(mode="after")
    def _matches_something(self) -> "Override":
        if self.data is None and self.target is None and self.algorithm is None:
            raise UserError("target: an override needs at least one of data, target and algorithm; add one")
        return self

    def matches(self, key: StudyKey) -> bool:
        """Whether it applies to this study."""
        asked = ((self.data, key.dataset), (self.target, key.target), (self.algorithm, key.algorithm))
        return all(wanted in (None, name) for wanted, name in asked)


class TopTrials(StrictModel):
    """Of how many trials the final runs are combined."""

    top_k: int = Field(ge=1)
    """The best so many by the search, all seeds of each."""


@value_check
def _ensemble(values: Any) -> Any:
    if isinstance(values, dict) and set(values) != {"top_k"}:
        raise UserError(f"{values} is not valid; give seeds, weights, none, or the number of trials as {{top_k: 2}}")
    return "none" if values is None else values


class FinalSpec(StrictModel):
    """The second stage: each study's best values, trained anew."""

    seeds: int = Field(default=3, ge=0)
    """Number of runs, with seeds that the search did not use."""
    top_k: int = Field(default=1, ge=1)
    """So many of each study's best trials are repeated; which of them counts is decided by their final runs' means of
    the objective."""
    ensemble: Annotated[Literal["seeds", "weights", "none"] | TopTrials, BeforeValidator(_ensemble)] = "seeds"
    """Which final runs of a study answer as one model: those of the values that it settles on, none, or those of its
    best `top_k` trials, at most as many as are repeated. `weights`: those of `seeds`, as one network whose weights are
    the mean of theirs, where that is no worse on source domains. It costs an evaluation of each, and no training."""
    resources: TrialResources | None = None
    """What a final run occupies; null: what a search trial does. With others, final runs wait until all searches are
    over."""

    @model_validator(mode="after")
    def _has_runs(self) -> "FinalSpec":
        if self.ensemble == "weights" and self.seeds < 2:
            raise UserError(
                f"ensemble: weights: with seeds: {self.seeds} there are none to average; raise it to 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _has_trials(self) -> "FinalSpec":
        if isinstance(self.ensemble, TopTrials) and self.ensemble.top_k > self.top_k:
            raise UserError(
                f"ensemble.top_k: {self.ensemble.top_k} trials can't be combined, since final.top_k has only "
                f"{self.top_k} repeated; raise that, or lower this"
            )
        return self


class TrackingSpec(StrictModel):
    """Where MLflow's runs go, and what they have beside their numbers."""

    uri: str | None = None
    """A tracking URI without user and password; null: MLFLOW_TRACKING_URI, else the store in the results folder."""
    figures: bool = True
    """Whether Optuna's figures of each study are drawn, which takes some seconds a study."""

    @model_validator(mode="after")
    def _safe(self) -> "TrackingSpec":
        if self.uri is not None:
            require_no_secrets(self.uri, "uri")
            require_known(self.uri, "uri")
        return self


class SweepConfig(Block):
    """A sweep: algorithms x data sets x imbalance settings x target domains, each of them a study."""

    name: SweepName
    data: Annotated[
        tuple[Annotated[DataSpec, BeforeValidator(_named)], ...], BeforeValidator(listed), Field(min_length=1)
    ]
    imbalance: Annotated[tuple[ImbalanceSpec, ...], BeforeValidator(value_check(_settings)), Field(min_length=1)]
    algorithms: Annotated[
        dict[Name, Annotated[AlgorithmSpec, BeforeValidator(_empty)]], BeforeValidator(_algorithms), Field(min_length=1)
    ]
    """By the names of their studies; from a list of algorithms each with the ranges that its own config gives."""
    overrides: tuple[Override, ...] = ()
    """Applied in order; the later one wins."""
    search: SearchSpec
    final: FinalSpec = FinalSpec()
    resources: ResourceSpec = ResourceSpec()
    tracking: TrackingSpec = TrackingSpec()
    _source: str = PrivateAttr("")
    _settings: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _rankable(self) -> "SweepConfig":
        left_out = [name for name in self.search.objective if name in CROSS_VALIDATED]
        if self.final.top_k > 1 and self.search.select is not None:
            raise UserError(
                "final.top_k: the final runs of several trials would choose between them once more, by the search's "
                "objective; set it to 1, or remove search.select"
            )
        if self.final.top_k > 1 and left_out:
            raise UserError(
                f"final.top_k: final runs train on all source domains, so that by {left_out[0]} they "
                "can't be ranked; set it to 1"
            )
        return self

    @property
    def occupied(self) -> dict[Stage, Demand]:
        """What a training of each stage occupies."""
        search = self.resources.occupied("resources")
        final = self.final.resources
        return {"search": search, "final": final.occupied("final.resources") if final else search}

    @property
    def source(self) -> str:
        """The file it was read from, for messages."""
        return self._source

    @property
    def settings(self) -> tuple[str, ...]:
        """What `--set` laid over the file."""
        return self._settings


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep in a YAML file, with `overrides` of the form `search.num_trials=20` laid over it.

    Raises UserError for every mistake: one line with the file, the key, what is wrong and the remedy.
    """
    values = read_yaml(path)
    require_kind("sweep", values, path)
    for text in overrides:
        _set(values, text)
    try:
        config = SweepConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error, values)}") from None
    config._source, config._settings = str(path), tuple(overrides)
    return config


DOTTED_BLOCKS = ("train", "space")
"""Mappings whose keys hold dots."""


def _set(values: dict[str, Any], text: str) -> None:
    """Lay one `--set` argument, a dotted key and a YAML value, over what the file says."""
    key, value = parse_setting(text, "search.num_trials=20")
    if not _set_below(values, key.split("."), value):
        raise UserError(f"--set {text}: part of the key stands for a plain value or a list; see docs/search_space.md")


def _set_below(node: Any, parts: list[str], value: Any, dotted: bool = False) -> bool:
    """Set the key made of `parts` below `node`, following the longest keys there are; False if that's impossible."""
    for length in range(len(parts) - 1, 0, -1):
        key = _existing(node, ".".join(parts[:length]))
        if key is not None:
            node[key] = {} if node[key] is None else node[key]
            return _set_below(node[key], parts[length:], value, dotted or key in DOTTED_BLOCKS)
    if not isinstance(node, dict):
        return False
    if dotted or len(parts) == 1:
        node[".".join(parts)] = value
        return True
    node[parts[0]] = {}
    return _set_below(node[parts[0]], parts[1:], value, parts[0] in DOTTED_BLOCKS)


def _existing(node: Any, key: str) -> str | int | None:
    if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
        return int(key)
    return key if isinstance(node, dict) and key in node else None
