"""A training's checkpoint to a model that can be used without the training, its data set or the harness."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ndcl
from ndcl import checkpoints
from ndcl.config import TrainConfig
from ndcl.data import open_dataset
from ndcl.errors import UserError
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import WEIGHTS, Description, Format, Inputs, inputs_of
from ndcl.serving.formats import write_weights


def export(
    checkpoint: Path, folder: Path, form: Format = "safetensors", origin: Mapping[str, Any] | None = None
) -> Description:
    """Write the best network of a checkpoint, by the criteria of its training, as a model to `folder`.

    `folder` must not exist yet, and appears whole or not at all; `Model.load` opens it. The data set of the training
    must be there: classes and preprocessing are its own. `origin` is kept beside what the checkpoint says of itself.

    Raises UserError if the checkpoint is damaged or holds several networks (leave-one-domain-out), the data set cannot
    be opened, `folder` exists, or a package that the format needs is missing.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; delete it first, or give another folder")
    classifier, values = open_checkpoint(checkpoint)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    inputs: Inputs = values["inputs"]
    sha256 = write_weights(classifier, example_batch(inputs), form, partial / WEIGHTS[form])
    values["origin"] |= origin or {}
    description = Description(format=form, sha256=sha256, **values)
    description.write(partial)
    partial.rename(folder)
    return description


def open_checkpoint(checkpoint: Path) -> tuple[Classifier, dict[str, Any]]:
    """The best network of a checkpoint, and the fields of its `Description` but for the file's.

    Raises UserError as `export` does.
    """
    if checkpoints.is_checkpoint(checkpoint) and not (checkpoint / checkpoints.STATE).exists():
        raise UserError(
            f"checkpoint '{checkpoint}': it holds one network for each domain that was left out, not one to export; "
            "let the sweep's final runs finish, which train on all source domains"
        )
    state, facts = checkpoints.read(checkpoint)
    config = TrainConfig.from_dict(facts["config"])
    store = open_dataset(config.data.name, config.data.folder)
    inputs = inputs_of(store, config.image_size)
    best = state["best"]
    classifier = Classifier(config.model, inputs, len(store.classes), best["network"], config.data.standardize)
    return classifier, {
        "classes": store.classes,
        "inputs": inputs,
        "model": config.model,
        "standardized": config.data.standardize,
        "origin": {
            "data": {"name": store.name, "digest": store.digest, "target": config.data.target},
            "step": best["step"],
            "config": config.to_dict(),
            "ndcl": ndcl.__version__,
            "torch": torch.__version__,
        },
    }


def example_batch(inputs: Inputs) -> Tensor:
    """Two inputs, all zero."""
    return torch.zeros((2, *inputs.shape), dtype=torch.float32 if inputs.kind == "vectors" else torch.uint8)
