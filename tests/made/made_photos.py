"""Small data sets of images large enough to count as photographs, raw and encoded."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ndcl.config import TrainConfig
from ndcl.data import Store, StoreWriter
from tests.made.made_store import CLASSES, DOMAINS

PER_CELL = 6


def make_photos(folder: Path, kind: str, size: tuple[int, int] = (72, 80)) -> Store:
    """A store of PER_CELL photographs of each domain and class; encoded ones have sizes of their own."""
    rng = np.random.default_rng(0)
    cells = [(d, k) for d in range(len(DOMAINS)) for k in range(len(CLASSES)) for _ in range(PER_CELL)]
    domain_ids, labels = zip(*cells, strict=True)
    sizes = [size if kind == "raw" else (64 + 8 * (i % 5), 100 - 8 * (i % 3)) for i in range(len(cells))]
    photos = [_photo(rng, *own) for own in sizes]
    with StoreWriter(
        folder,
        name=folder.name,
        classes=CLASSES,
        domains=DOMAINS,
        kind=kind,  # type: ignore[arg-type]
        shape=(*size, 3),
    ) as writer:
        inputs = np.stack(photos) if kind == "raw" else [_file(photo) for photo in photos]
        writer.append(inputs, labels, domain_ids, [f"{i}.jpg" for i in range(len(cells))])
    return Store(folder)


def photo_config(store: Store, **values: Any) -> TrainConfig:
    """A small training on such a store; `data` holds more of its data's values."""
    data = {"name": store.name, "folder": str(store.folder.parent), "target": "photo", **values.pop("data", {})}
    base: dict[str, Any] = {
        "data": data,
        "algorithm": {"name": "erm"},
        "imbalance": {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2},
        "model": {"backbone": "mlp", "mlp_width": 8, "mlp_depth": 2},
        "batch_size": 5,
        "num_steps": 4,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def _photo(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _file(photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
