"""What a user writes: a sweep in one YAML file, read once, checked strictly. `docs/search_space.md` is its guide."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from harness.dotted import flat
from harness.records import Stage
from harness.space import Space
from harness.strict import StrictModel, first_error
from harness.tracking_uri import require_known, require_no_secrets
from harness.workers import Occupied, Placement, Workers
from harness.yaml_files import parse_setting, read_yaml
from ndcl.config import ImbalanceConfig
from ndcl.errors import UserError
from ndcl.strict import from_dict

FIXED_ELSEWHERE = {
    "data": "write it under the sweep's `data`",
    "imbalance": "write it under the sweep's `imbalance`",
    "select_by": "write it under the sweep's `search.objective`",
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


def _min_and_max(values: Any) -> Any:
    return {"min": values, "max": values} if isinstance(values, int) else values


def _targets(values: Any) -> Any:
    return [values] if isinstance(values, str) and values != "all" else values


def _empty(values: Any) -> Any:
    return {} if values is None else values


def _settings(values: Any) -> Any:
    """A list of settings, in which a list of ratios has become as many settings."""
    result = []
    for value in _listed(values):
        ratios = value.get("ratio") if isinstance(value, dict) else None
        result += [{**value, "ratio": ratio} for ratio in ratios] if isinstance(ratios, (list, tuple)) else [value]
    return result


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


class SchedulerConfig(StrictModel):
    """How trials are stopped early, or learn from each other."""

    name: Literal["asha", "median", "pbt", "none"] = "asha"
    """`asha`: asynchronous successive halving (Li et al. 2020); `median`: stop below the median of earlier trials;
    `pbt`: population based training (Jaderberg et al. 2017); `none`."""
    min_resource: int = Field(default=1, ge=1)
    """asha, median: evaluations that every trial is granted."""
    reduction_factor: int = Field(default=3, ge=2)
    """asha: one in so many trials goes on at each rung."""
    perturbation_interval: int = Field(default=1, ge=1)
    """pbt: evaluations between two comparisons of the population."""
    quantile_fraction: float = Field(default=0.25, gt=0, le=0.5)
    """pbt: so large a share of the population, the worst, goes on from the best of as large a share."""
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    """pbt: probability that a value taken over is drawn anew, rather than moved by a fifth or to its neighbour."""


class WarmStart(StrictModel):
    """Values to try first, taken from the best trials of another sweep's studies."""

    sweep: Name
    """Name of a sweep in the same results folder."""
    num_trials: int = Field(default=3, ge=1)
    """How many sets of values, the best of each matching study in turn."""
    algorithm: Name | None = None
    """Name of the algorithm there; null: as here."""
    from_other_targets: bool = False
    """Also from studies of other target domains of the same data set. These were selected with images of this study's
    target domain, which was one of their source domains; tables say so."""


Objective = Literal[
    "validation_accuracy",
    "worst_domain_accuracy",
    "few_shot_accuracy",
    "leave_one_domain_out_accuracy",
    "oracle_accuracy",
]


class SearchSpec(StrictModel):
    """The budget of each study's search, what it maximises, and how the budget is spent."""

    num_trials: int | None = Field(default=None, ge=1)
    """Required, but for the sampler `grid`, where null means all of the grid."""
    objective: Annotated[tuple[Objective, ...], BeforeValidator(_listed), Field(min_length=1)] = (
        "validation_accuracy",
    )
    """Measured on source domains, except for the oracle. Several make a Pareto front."""
    sampler: Literal["tpe", "gp", "cmaes", "qmc", "random", "grid", "nsga2"] = "tpe"
    scheduler: SchedulerConfig = SchedulerConfig()
    warm_start: WarmStart | None = None
    seed: int = Field(default=0, ge=0)
    """Seed of the sampler."""

    @model_validator(mode="before")
    @classmethod
    def _without_pruning(cls, values: Any) -> Any:
        """A Pareto front knows no early stopping, and asks for none where nothing is said."""
        several = isinstance(values, dict) and len(_listed(values.get("objective") or ())) > 1
        return {"scheduler": {"name": "none"}, **values} if several else values

    @model_validator(mode="after")
    def _fitting(self) -> "SearchSpec":
        if self.num_trials is None and self.sampler != "grid":
            raise UserError("num_trials: a value is required; add it")
        several = len(self.objective) > 1
        if len(set(self.objective)) < len(self.objective):
            raise UserError(f"objective: {', '.join(self.objective)} names one twice; leave one out")
        if several and self.scheduler.name != "none":
            raise UserError(
                f"scheduler.name: {self.scheduler.name} compares trials by one number, but there are "
                f"{len(self.objective)} objectives; set it to none, or name one objective"
            )
        if several and self.sampler in SINGLE_OBJECTIVE:
            raise UserError(f"sampler: {self.sampler} knows one objective only; use tpe, gp or nsga2")
        return self


SINGLE_OBJECTIVE = ("cmaes",)
"""Samplers that can't search for a Pareto front."""


class WorkerRange(StrictModel):
    """As many workers as there is room for, while the trial runs; one number stands for both."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "WorkerRange":
        if self.min > self.max:
            raise UserError(f"min: {self.min} is greater than max, {self.max}; exchange them")
        return self


class TrialResources(StrictModel):
    """What one trial occupies, and how many run at once."""

    workers_per_trial: Annotated[WorkerRange, BeforeValidator(_min_and_max)] = WorkerRange(min=1, max=1)
    """Processes that train one trial together; with one it is the trial's own."""
    cpus_per_trial: float = Field(default=1.0, gt=0)
    """With one worker."""
    gpus_per_trial: float = Field(default=0.0, ge=0)
    """With one worker."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """With several workers."""
    gpus_per_worker: int = Field(default=0, ge=0, le=1)
    """With several workers."""
    placement: Placement = "PACK"
    """With several workers: on few nodes, over many (SPREAD), on one (STRICT_PACK), each on its own (STRICT_SPREAD)."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """At most so many trials at once; null: as many as the resources allow."""

    @model_validator(mode="after")
    def _of_the_workers(self) -> "TrialResources":
        """Refuse what would not be used."""
        several = self.workers_per_trial.max > 1
        unused = (
            ("cpus_per_trial", "gpus_per_trial") if several else ("cpus_per_worker", "gpus_per_worker", "placement")
        )
        for key in unused:
            if getattr(self, key) != type(self).model_fields[key].default:
                remedy = key.replace("trial", "worker") if several else key.replace("worker", "trial")
                use = f"use {remedy}" if remedy != key else "leave it out"
                raise UserError(f"{key}: with {'several workers' if several else 'one worker'} a trial has none; {use}")
        return self

    def occupied(self, key: str) -> Occupied:
        """The same for whoever plans and runs trials; `key` is where the file says it."""
        workers = self._workers
        return Occupied(
            cpus=workers.most * workers.cpus if workers else self.cpus_per_trial,
            gpus=float(workers.most * workers.gpus) if workers else self.gpus_per_trial,
            workers=workers,
            max_concurrent=self.max_concurrent,
            key=key,
        )

    @property
    def _workers(self) -> Workers | None:
        """Those of a trial that has several."""
        number = self.workers_per_trial
        if number.max == 1:
            return None
        return Workers(
            least=number.min,
            most=number.max,
            cpus=self.cpus_per_worker,
            gpus=self.gpus_per_worker,
            placement=self.placement,
        )


class ResourceSpec(TrialResources):
    """What one trial occupies, and what of it stays."""

    keep_checkpoints: Literal["all", "selected"] = "all"
    """`selected`: of a study's search trials only the best `final.top_k` keep theirs; final runs always do."""


class FinalSpec(StrictModel):
    """The second stage: each study's best values, trained anew."""

    seeds: int = Field(default=3, ge=0)
    """Number of runs, with seeds that the search did not use."""
    top_k: int = Field(default=1, ge=1)
    """So many of each study's best trials are repeated; which of them counts is decided by their final runs' means of
    the objective."""
    resources: TrialResources | None = None
    """What a final run occupies; null: what a search trial does. With others, final runs wait until all searches are
    over."""


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

    name: Name
    data: Annotated[
        tuple[Annotated[DataSpec, BeforeValidator(_named)], ...], BeforeValidator(_listed), Field(min_length=1)
    ]
    imbalance: Annotated[tuple[ImbalanceSpec, ...], BeforeValidator(_settings), Field(min_length=1)]
    algorithms: dict[Name, Annotated[AlgorithmSpec, BeforeValidator(_empty)]] = Field(min_length=1)
    overrides: tuple[Override, ...] = ()
    """Applied in order; the later one wins."""
    search: SearchSpec
    final: FinalSpec = FinalSpec()
    resources: ResourceSpec = ResourceSpec()
    tracking: TrackingSpec = TrackingSpec()
    _source: str = PrivateAttr("")

    @model_validator(mode="after")
    def _rankable(self) -> "SweepConfig":
        if self.final.top_k > 1 and "leave_one_domain_out_accuracy" in self.search.objective:
            raise UserError(
                "final.top_k: final runs train on all source domains, so that by leave_one_domain_out_accuracy they "
                "can't be ranked; set it to 1"
            )
        return self

    @property
    def occupied(self) -> dict[Stage, Occupied]:
        """What a training of each stage occupies."""
        search = self.resources.occupied("resources")
        final = self.final.resources
        return {"search": search, "final": final.occupied("final.resources") if final else search}

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
