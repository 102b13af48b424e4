"""A training's checkpoint to a model that can be used without the training, its data set or the harness."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ndcl
from ndcl.checkpoint_files import STATE, is_checkpoint
from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.data import open_dataset
from ndcl.data.facts import DataFacts, require_same
from ndcl.data.problem import build_problem
from ndcl.errors import UserError
from ndcl.evaluation.calibration import Selective
from ndcl.evaluation.ensembles import Combination
from ndcl.files import clear_write_errors
from ndcl.models.adapting import merge
from ndcl.parallel import resolve_device
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import WEIGHTS, Description, Format, Inputs, KnownSources, Members, inputs_of
from ndcl.serving.ensemble import Ensemble, one_head, one_network
from ndcl.serving.formats import Servable, write_weights
from ndcl.serving.model import Model
from ndcl.serving.sources import look_at_sources, write_sources


def export(
    checkpoint: Path | Sequence[Path],
    folder: Path,
    form: Format = "safetensors",
    origin: Mapping[str, Any] | None = None,
    digest: str | None = None,
    combination: Combination | None = None,
    selective: Selective | None = None,
) -> Description:
    """Write the best network of a checkpoint, by the criteria of its training, as a model to `folder`.

    Of several checkpoints, of one data set, it is their ensemble: by the `combination`, or else by averaged
    probabilities. Averaged linear heads become a single one, and so do networks whose weights are averaged. The
    combination of one checkpoint tells its temperature.
    `selective` is what `ndcl predict --reject` goes by.

    `folder` must not exist yet, and appears whole or not at all; `Model.load` opens it. Classes and preprocessing are
    those of the data set that the training had, by the checkpoint. `origin` is kept beside what that says of itself.

    If the data set is still there, what is compared with images of a new site is measured on validation images of the
    source domains (`ndcl/serving/sources.py`), of a model in safetensors; else its description has no `sources`.

    A checkpoint of version 0.1 does not say them: its data set must still be there, with its `digest` if that is known.

    Raises UserError if the checkpoint is damaged or holds several networks (leave-one-domain-out), the data set is
    needed and another one or not to be opened, checkpoints are of other classes or inputs than the first, `folder`
    exists or can't be written, or a package that the format needs is missing.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; delete it first, or give another folder")
    servable, values = open_checkpoints(
        [checkpoint] if isinstance(checkpoint, Path) else checkpoint, digest, combination
    )
    partial = folder.with_name(f".{folder.name}.partial")
    inputs: Inputs = values["inputs"]
    values["origin"] |= origin or {}
    with clear_write_errors(folder, "give another folder"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        sha256 = write_weights(servable, example_batch(inputs), form, partial / WEIGHTS[form])
        description = Description(format=form, sha256=sha256, selective=selective, **values)
        if form == "safetensors":
            description = replace(description, sources=_sources_of(description, servable, partial))
        description.write(partial)
        partial.rename(folder)
    return description


def open_checkpoints(
    checkpoints: Sequence[Path], digest: str | None = None, combination: Combination | None = None
) -> tuple[Servable, dict[str, Any]]:
    """What is to be exported of one checkpoint or several, and the fields of its `Description` but for the file's.

    Raises UserError as `export` does.
    """
    opened = [open_checkpoint(checkpoint, digest) for checkpoint in checkpoints]
    members, (first, *others) = [member for member, _ in opened], [values for _, values in opened]
    for path, values in zip(checkpoints[1:], others, strict=True):
        for key in ("classes", "inputs", "standardized"):
            if values[key] != first[key]:
                raise UserError(f"checkpoint '{path}': its {key} are not those of the others; export it by itself")
    combination = combination or Combination(of="probabilities", scales=(1.0,) * len(members))
    values = first | {"temperature": combination.temperature}
    if len(members) == 1:
        return members[0], values
    origin = first["origin"] | {"seeds": [each["origin"]["config"]["seed"] for each in (first, *others)]}
    if combination.of == "weights":
        return one_network(members), values | {"origin": origin | {"averaged": "weights"}}
    head = one_head(members, combination)
    if head is not None:
        return head, values | {"origin": origin}
    models = tuple(each["model"] for each in (first, *others))
    transforms = tuple(each["transform"] for each in (first, *others))
    about = Members(models=models, of=combination.of, scales=combination.scales, transforms=transforms)
    return Ensemble(members, combination), values | {"origin": origin, "members": about}


def open_checkpoint(checkpoint: Path, digest: str | None = None) -> tuple[Classifier, dict[str, Any]]:
    """The best network of a checkpoint, and the fields of its `Description` but for the file's.

    Raises UserError as `export` does.
    """
    if is_checkpoint(checkpoint) and not (checkpoint / STATE).exists():
        raise UserError(
            f"checkpoint '{checkpoint}': it holds one network for each domain that was left out, not one to export; "
            "let the sweep's final runs finish, which train on all source domains"
        )
    state, facts = content.read(checkpoint)
    config = TrainConfig.from_dict(facts["config"])
    data = DataFacts.from_dict(facts["data"]) if "data" in facts else _data_of(config, checkpoint, digest)
    inputs = inputs_of(data, config.image_size, config.model.interpolation)
    best = state["best"]
    try:
        classifier = Classifier(
            config.model,
            inputs,
            len(data.classes),
            best["network"],
            config.data.standardize,
            config.data.transform,
        )
    except RuntimeError:
        raise UserError(f"checkpoint '{checkpoint}': its network does not fit data set '{data.name}'{_BACK}") from None
    merge(classifier.network)
    return classifier, {
        "classes": data.classes,
        "inputs": inputs,
        "model": replace(config.model, train="all"),
        "standardized": config.data.standardize,
        "transform": config.data.transform,
        "origin": {
            "data": {"name": data.name, "digest": data.digest, "target": config.data.target},
            "step": best["step"],
            "config": config.to_dict(),
            "ndcl": ndcl.__version__,
            "torch": torch.__version__,
        },
    }


_BACK = "; bring back the data set that it was trained on"


def _data_of(config: TrainConfig, checkpoint: Path, digest: str | None) -> DataFacts:
    """The data set of a checkpoint that does not say what it was."""
    found = DataFacts.of(open_dataset(config.data.name, config.data.folder))
    if digest is not None:
        require_same(found, digest, f"checkpoint '{checkpoint}'", _BACK.removeprefix("; "))
    return found


def _sources_of(description: Description, servable: Servable, folder: Path) -> KnownSources | None:
    """What a model keeps of its source domains, written to its folder; None if its data set isn't there any more."""
    config = TrainConfig.from_dict(description.origin["config"])
    try:
        problem = build_problem(config.data, config.imbalance)
    except UserError:
        return None
    if problem.store.digest != description.origin["data"]["digest"]:
        return None
    device = resolve_device("auto")
    looks = look_at_sources(Model(description, servable.to(device), device), problem)
    return write_sources(looks, folder) if looks else None


def example_batch(inputs: Inputs) -> Tensor:
    """Two inputs, all zero."""
    return torch.zeros((2, *inputs.shape), dtype=torch.float32 if inputs.kind == "vectors" else torch.uint8)
