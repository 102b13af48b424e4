"""Keys of a sweep's file that change nothing with what the file chooses: each is refused, with the reason.

They are looked for when a plan is made, not when a config is built, so that what earlier versions wrote is still read.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.config import SweepConfig
from harness.config.search import SchedulerConfig
from harness.config.space import extremes
from harness.config.sweep import Block, DataSpec, Override, TopTrials
from ndcl.errors import UserError
from ndcl.unused import unused_keys

if TYPE_CHECKING:
    from harness.plan.studies import StudyPlan

USED_BY_SCHEDULER: dict[str, tuple[str, ...]] = {
    "asha": ("min_resource", "reduction_factor", "mode"),
    "hyperband": ("min_resource", "reduction_factor", "mode"),
    "median": ("min_resource",),
    "pbt": ("perturbation_interval", "quantile_fraction", "resample_probability"),
    "none": (),
}
GOVERNING = (
    *("model.backbone", "model.train", "algorithm.alpha", "algorithm.beta"),
    *("optimizer.name", "optimizer.weight_decay", "averaging.name"),
)
"""Searched values on which it depends whether another one is used."""
Unused = tuple[str, str]
"""A dotted key of the file, and why it changes nothing."""


def refuse_unused(config: SweepConfig, studies: Sequence["StudyPlan"]) -> None:
    """Raise UserError for the first key that is set and changes nothing in any of the sweep's studies."""
    for finder in (_of_the_search, _of_the_space, _of_final, _of_resources):
        for key, reason in finder(config):
            raise UserError(f"{key}: {reason}")
    for key, reason in _of_trainings(config, studies):
        raise UserError(f"{key}: {reason}; remove it")


def _changed(block: SchedulerConfig) -> Iterator[str]:
    return (key for key, field in type(block).model_fields.items() if getattr(block, key) != field.default)


def _of_the_search(config: SweepConfig) -> Iterator[Unused]:
    search = config.search
    name = search.scheduler.name
    for key in _changed(search.scheduler):
        if key != "name" and key not in USED_BY_SCHEDULER[name]:
            whole = f"--set 'search.scheduler={{name: {name}}}'"
            yield f"search.scheduler.{key}", f"scheduler {name} does not use it; remove it, or replace all by {whole}"
    is_grid = search.sampler == "grid"
    if is_grid and name != "pbt" and search.seed:
        yield "search.seed", "sampler grid draws nothing at random; remove it"
    if search.select is not None and search.num_trials == 1:
        yield "search.select", "with search.num_trials: 1 there is nothing to choose from; remove it"
    if search.select is not None and not any(block.space for block in _blocks(config).values()):
        yield "search.select", "nothing is searched; remove it, or add a space"
    if search.warm_start is None:
        return
    if is_grid:
        yield "search.warm_start", "sampler grid tries all values anyway; remove it, or take another sampler"
    if not any(block.space for block in _blocks(config).values()):
        yield "search.warm_start", "nothing is searched; remove it, or add a space"


def _of_the_space(config: SweepConfig) -> Iterator[Unused]:
    """A grid has its own order, and takes the values as they are."""
    if config.search.sampler != "grid":
        return
    for where, block in _blocks(config).items():
        for key, parameter in block.space.items():
            if parameter.has_default:
                yield f"{where}space.{key}.default", "sampler grid tries all values in their order; remove it"
            if parameter.type == "int" and parameter.log:
                yield f"{where}space.{key}.log", "sampler grid tries all values; remove it"


def _of_final(config: SweepConfig) -> Iterator[Unused]:
    final = config.final
    if final.seeds:
        return
    if final.resources is not None:
        yield "final.resources", "with final.seeds: 0 there are no final runs; remove it"
    if isinstance(final.ensemble, TopTrials):
        yield "final.ensemble", "with final.seeds: 0 there are no final runs to combine; remove it"
    if final.top_k > 1 and config.resources.keep_checkpoints == "all":
        yield "final.top_k", "with final.seeds: 0 there are no final runs; remove it"


def _of_resources(config: SweepConfig) -> Iterator[Unused]:
    stages = {stage: occupied for stage, occupied in config.occupied.items() if stage == "search" or config.final.seeds}
    for where, block in _blocks(config).items():
        if block.train.get("sharding", "none") != "none" and not any(each.workers for each in stages.values()):
            yield (
                f"{where}train.sharding",
                "one worker keeps everything; remove it, or raise resources.workers_per_trial",
            )
        if block.train.get("device") == "cpu":
            for occupied in stages.values():
                if occupied.gpus:
                    key = f"{occupied.key}.gpus_per_{'worker' if occupied.workers else 'trial'}"
                    yield key, f"with {where}train.device: cpu no GPU is used; remove one of them"


def _of_trainings(config: SweepConfig, studies: Sequence["StudyPlan"]) -> Iterator[Unused]:
    unused = {study.key: _unused_in(study) for study in studies}
    for where, block in _blocks(config).items():
        own = [unused[study.key] for study in studies if _applies(config, block, study)]
        for part, keys in (("train", block.train), ("space", block.space)):
            yield from ((f"{where}{part}.{key}", reason) for key, reason in _in_all(keys, own))
    for data in config.data:
        own = [unused[study.key] for study in studies if study.key.dataset == data.name]
        defaults = DataSpec.defaults()
        written = [
            f"data.{key}" for key, value in data.model_dump(exclude={"targets"}).items() if value != defaults[key]
        ]
        yield from _in_all(written, own)


def _in_all(keys: Iterable[str], studies: Sequence[dict[str, str]]) -> Iterator[Unused]:
    """Those of the keys that none of these studies uses."""
    for key in keys:
        if studies and all(key in unused for unused in studies):
            yield key, studies[0][key]


def _unused_in(study: "StudyPlan") -> dict[str, str]:
    """What no trial of the study uses, whatever its searched values are."""
    found = [unused_keys(study.train_config(values)) for values in extremes(study.space, study.fixed, GOVERNING)]
    return {key: reason for key, reason in found[0].items() if all(key in other for other in found)}


def _blocks(config: SweepConfig) -> dict[str, Block]:
    """All blocks of values of the file, by the beginning of their keys."""
    blocks: dict[str, Block] = {"": config}
    blocks |= {f"algorithms.{label}.": spec for label, spec in config.algorithms.items()}
    return blocks | {f"overrides.{number}.": override for number, override in enumerate(config.overrides)}


def _applies(config: SweepConfig, block: Block, study: "StudyPlan") -> bool:
    if isinstance(block, Override):
        return block.matches(study.key)
    return block is config or block is config.algorithms[study.key.algorithm]
