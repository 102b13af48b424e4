"""What an exported model keeps of its source domains, so that images of a new site can be held against them.

It is a file of a few rows for each domain, measured on validation images of the source domains alone: no network was
trained on these, and the target domain has no part in it.

Legend: D source domains, K classes, P features.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ndcl.checkpoint_files import digest_of
from ndcl.data.delivery import delivered
from ndcl.data.problem import Problem
from ndcl.errors import UserError
from ndcl.serving.description import SOURCES_FILE, Description, KnownSources
from ndcl.serving.looks import Look, Looker
from ndcl.serving.model import Model

MOST_IMAGES = 256
"""Of a domain that are looked at: enough for means, and seconds for several large networks."""
_ROWS = 64


def look_at_sources(model: Model, problem: Problem) -> dict[str, Look]:
    """What the model makes of the validation images of each source domain, evenly taken where there are many."""
    looks = {}
    inputs = model.description.inputs
    for domain, rows in zip(problem.source_domains, problem.validation, strict=True):
        looker = Looker(model)
        chosen = np.sort(rows)[np.linspace(0, len(rows) - 1, min(len(rows), MOST_IMAGES)).round().astype(np.int64)]
        for start in range(0, len(chosen), _ROWS):
            part = chosen[start : start + _ROWS]
            looker.add(delivered(problem.store, part, inputs.shape, inputs.interpolation))
        if looker.num_images:
            looks[domain] = looker.look()
    return looks


def write_sources(looks: Mapping[str, Look], folder: Path) -> KnownSources:
    """Write the looks at the source domains to the folder of a model."""
    found = list(looks.values())
    tensors = {
        "num_images": torch.tensor([look.num_images for look in found]),
        "shares": torch.tensor(np.stack([look.shares for look in found])).float(),
        "confidence": torch.tensor([look.confidence for look in found], dtype=torch.float32),
        "mean": torch.stack([look.mean for look in found]).float(),
        "variance": torch.stack([look.variance for look in found]).float(),
    }
    apart = [look.disagreement for look in found if look.disagreement is not None]
    if apart:
        tensors["disagreement"] = torch.tensor(apart, dtype=torch.float32)
    save_file(tensors, folder / SOURCES_FILE)
    return KnownSources(domains=tuple(looks), sha256=digest_of(folder / SOURCES_FILE))


def read_sources(folder: Path, description: Description) -> dict[str, Look]:
    """The looks at the source domains of the model in a folder. Raises UserError if it has none, or is damaged."""
    if description.sources is None:
        raise UserError(f"{folder} holds nothing of its source domains; {_again(description)}")
    path = folder / SOURCES_FILE
    if not path.is_file() or digest_of(path) != description.sources.sha256:
        raise UserError(f"{path} is missing or damaged; export the model again")
    tensors = load_file(path)
    return {domain: _look(tensors, row) for row, domain in enumerate(description.sources.domains)}


def _look(tensors: Mapping[str, Tensor], row: int) -> Look:
    return Look(
        num_images=int(tensors["num_images"][row]),
        shares=tensors["shares"][row].double().numpy(),
        confidence=float(tensors["confidence"][row]),
        disagreement=float(tensors["disagreement"][row]) if "disagreement" in tensors else None,
        mean=tensors["mean"][row].double(),
        variance=tensors["variance"][row].double(),
    )


def _again(description: Description) -> str:
    """How to get a model that holds it."""
    if description.format != "safetensors":
        return f"export it as safetensors, since a graph of format {description.format} gives no features"
    sweep, study = description.origin.get("sweep"), description.origin.get("study")
    if sweep is None or study is None:
        return "export it again, where its data set is"
    return f"export it again, where its data set is, with: ndcl export {sweep} --study {study} --to DIR"
