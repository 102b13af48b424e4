"""What a job needs beside its code: data sets, weights, a setting that suits them. Looked for before it is sent.

A job that lacks one of them ends on the head, after minutes that cost.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.cluster.commands import DATA_VARIABLE, data_of, storage_of
from harness.cluster.files import ClusterFile
from harness.config import SweepConfig
from harness.config.commands import ndcl_command
from harness.config.sweep import DataSpec
from harness.plan.plan import require_suitable_data
from ndcl.architectures import is_known_weights
from ndcl.errors import UserError

Say = Callable[[str], None]
CLOUDS = ("aws", "gcp", "azure")
WEIGHTS = "model.weights"
LOOK_SECONDS = 20
"""So long is an object store of Google's asked again that doesn't answer; its client's own limit is 15 minutes."""


def require_inputs(file: ClusterFile, config: SweepConfig, say: Say) -> None:
    """Raise UserError if head and nodes won't find what the sweep needs; `say` what can't be known here."""
    for spec in config.data:
        _require_data(file, spec, say)
    _require_weights(file, config, say)
    _require_setting(config, say)


def _require_data(file: ClusterFile, spec: DataSpec, say: Say) -> None:
    from ndcl.data.datasets import DATASETS, is_in_store
    from ndcl.filesystems import is_uri, shown

    if spec.name in DATASETS:
        return
    place = spec.folder or data_of(file)
    if not place:
        _require_own_data(file, spec.name, say)
    elif not is_uri(place):
        say(f"not checked: data set '{spec.name}' has to lie in {place} on head and nodes")
    else:
        try:
            is_there = is_in_store(spec.name, _asked_briefly(place))
        except UserError as error:
            say(f"not checked: data set '{spec.name}' at {shown(place)}, by this machine: {error}")
            return
        if not is_there:
            raise UserError(
                f"{file.path}: data set '{spec.name}' is not in {shown(place)}, where head and nodes look for it; "
                f"put it there: {ndcl_command('data', 'push', spec.name, place)}"
            )
        _warn_if_other(spec, place, say)


def _require_own_data(file: ClusterFile, name: str, say: Say) -> None:
    """Nodes of a cloud start without data, unless the file says how they come to some."""
    has_own = any(DATA_VARIABLE in line for line in file.text.splitlines() if not line.lstrip().startswith("#"))
    if file.kind not in CLOUDS or has_own:
        say(f"not checked: data set '{name}' has to lie in the data folder of head and nodes")
        return
    scheme, _, below = storage_of(file).partition("?")[0].partition("://")
    place = f"{scheme}://{below.partition('/')[0]}/data" if below else "s3://BUCKET/data"
    raise UserError(
        f"{file.path}: its nodes start without data set '{name}', and `metadata` has no `data`; put it there: "
        f"{ndcl_command('data', 'push', name, place)}, and write into the file, under metadata: data: {place}"
    )


def _warn_if_other(spec: DataSpec, place: str, say: Say) -> None:
    """Say if the data set of this name here is another than there."""
    from ndcl.data.datasets import header_here, header_of
    from ndcl.filesystems import shown

    here = header_here(spec.name)
    if here is not None and here.digest != header_of(spec.name, place).digest:
        push = ndcl_command("data", "push", spec.name, place, "--replace")
        say(f"warning: data set '{spec.name}' here is not that of {shown(place)}, which the job takes; or: {push}")


def _asked_briefly(place: str) -> str:
    if not place.startswith("gs://"):
        return place
    return f"{place}{'&' if '?' in place else '?'}retry_limit_seconds={LOOK_SECONDS}"


def _require_weights(file: ClusterFile, config: SweepConfig, say: Say) -> None:
    for weights in dict.fromkeys(_weights(config)):
        if weights != "none" and is_known_weights(weights):
            whose = "ImageNet's" if weights == "imagenet" else f"those that {WEIGHTS}: {weights} names"
            say(f"weights: each node fetches {whose} at its first trial, unless they lie in its image")
        elif weights != "none" and not _is_sent(file, weights):
            raise UserError(
                f"{file.path}: {WEIGHTS}: nodes won't find '{weights}'; put it below the folder that file_mounts "
                f"copies, and give its relative path, or mount it: {weights}: {weights}"
            )


def _weights(config: SweepConfig) -> Iterator[str]:
    """All that the sweep gives as weights."""
    for block in (config, *config.algorithms.values(), *config.overrides):
        if WEIGHTS in block.train:
            yield str(block.train[WEIGHTS])
        if WEIGHTS in block.space:
            yield from map(str, block.space[WEIGHTS].probes())


def _is_sent(file: ClusterFile, weights: str) -> bool:
    """Whether a file lies among what is copied to the nodes."""
    path = Path(weights)
    if not path.is_absolute() and not weights.startswith("~"):
        return path.is_file()
    return any(path.is_relative_to(remote) for remote, _ in file.mounted())


def _require_setting(config: SweepConfig, say: Say) -> None:
    """Where all data sets are here, too, see whether the sweep's targets and settings suit them."""
    from ndcl.data.datasets import header_here

    here = [header_here(spec.name) for spec in config.data]
    if all(here):
        local = tuple(spec.model_copy(update={"folder": None}) for spec in config.data)
        require_suitable_data(config.model_copy(update={"data": local}))
    else:
        names = ", ".join(spec.name for spec, header in zip(config.data, here, strict=True) if header is None)
        say(f"not checked: whether targets and settings suit {names}, not on this machine; the head checks it first")
