"""What a user writes: a sweep in one YAML file, read once, checked strictly. `docs/search_space.md` is its guide."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from harness.dotted import flat
from harness.space import Space
from harness.strict import StrictModel, first_error
from harness.yaml_files import parse_setting, read_yaml
from ndcl.config import ImbalanceConfig
from ndcl.errors import UserError
from ndcl.strict import from_dict

FIXED_ELSEWHERE = {
    "data": "write it under the sweep's `data`",
    "imbalance": "write it under the sweep's `imbalance`",
    "seed": "search trials use seed 0, final runs the seeds from 1 on; see `final.seeds`",
    "algorithm.name": "it is the algorithm's name under `algorithms`",
}
"""TrainConfig keys that `train` can't set, and where they are set instead."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A name that is safe in file names."""


def _train_values(values: dict[str, Any]) -> dict[str, Any]:
    """TrainConfig values by dotted key; nested ones are accepted."""
    values = flat(values)
    for key in values:
        for elsewhere, remedy in FIXED_ELSEWHERE.items():
            if f"{key}.".startswith(f"{elsewhere}."):
                raise UserError(f"{key}: it is not a value of `train`; {remedy}")
    return values


def _listed(values: Any) -> Any:
    return values if isinstance(values, (list, tuple)) else [values]


def _named(values: Any) -> Any:
    return {"name": values} if isinstance(values, str) else values


def _targets(values: Any) -> Any:
    return [values] if isinstance(values, str) and values != "all" else values


def _empty(values: Any) -> Any:
    return {} if values is None else values


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
    """One data set and its target domains, each of which gets its own studies."""

    name: Name
    targets: Annotated[Literal["all"] | tuple[Name, ...], BeforeValidator(_targets)] = "all"
    folder: str | None = None
    augment: bool = True
    image_size: int | None = Field(default=None, ge=8)
    workers: int | None = Field(default=None, ge=0)
    augment_on: Literal["auto", "cpu", "gpu"] = "auto"
    standardize: bool = False


class ImbalanceSpec(StrictModel):
    """One imbalance setting: the keys of `ndcl.config.ImbalanceConfig`, and a label."""

    model_config = ConfigDict(frozen=True, extra="allow")
    label: Name | None = None
    """Name of the setting in studies and tables, where its own name and ratio don't tell it from others."""

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

    data: str | None = None
    target: str | None = None
    algorithm: str | None = None

    @model_validator(mode="after")
    def _matches_something(self) -> "Override":
        if self.data is None and self.target is None and self.algorithm is None:
            raise UserError("target: an override needs at least one of data, target and algorithm; add one")
        return self


class PrunerConfig(StrictModel):
    """How weak trials are stopped early."""

    name: Literal["asha", "median", "none"] = "asha"
    """`asha`: successive halving; `median`: stop below the median of earlier trials; `none`."""
    min_resource: int = Field(default=1, ge=1)
    """Evaluations that every trial is granted."""
    reduction_factor: int = Field(default=3, ge=2)
    """asha: one in so many trials goes on at each rung."""


class SearchSpec(StrictModel):
    """The budget of each study's search, and how it is spent."""

    num_trials: int = Field(ge=1)
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: PrunerConfig = PrunerConfig()
    seed: int = Field(default=0, ge=0)
    """Seed of the sampler."""


class FinalSpec(StrictModel):
    """The second stage: each study's best values, trained anew."""

    seeds: int = Field(default=3, ge=0)
    """Number of runs, with seeds that the search did not use."""


class ResourceSpec(StrictModel):
    """What one trial occupies, and how many run at once."""

    cpus_per_trial: float = Field(default=1.0, gt=0)
    gpus_per_trial: float = Field(default=0.0, ge=0)
    max_concurrent: int | None = Field(default=None, ge=1)
    """At most so many trials at once; null: as many as the resources allow."""


class SweepConfig(Block):
    """A sweep: algorithms x data sets x imbalance settings x target domains, each of them a study."""

    name: Name
    data: Annotated[
        tuple[Annotated[DataSpec, BeforeValidator(_named)], ...], BeforeValidator(_listed), Field(min_length=1)
    ]
    imbalance: Annotated[tuple[ImbalanceSpec, ...], BeforeValidator(_listed), Field(min_length=1)]
    algorithms: dict[Name, Annotated[AlgorithmSpec, BeforeValidator(_empty)]] = Field(min_length=1)
    overrides: tuple[Override, ...] = ()
    """Applied in order; the later one wins."""
    search: SearchSpec
    final: FinalSpec = FinalSpec()
    resources: ResourceSpec = ResourceSpec()
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The file it was read from, for messages."""
        return self._source


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep in a YAML file, with `overrides` of the form `search.num_trials=20` laid over it.

    Raises UserError for every mistake: one line with the file, the key, what is wrong and the remedy.
    """
    values = read_yaml(path)
    for text in overrides:
        _set(values, text)
    try:
        config = SweepConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error, values)}") from None
    config._source = str(path)
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
