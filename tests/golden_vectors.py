"""Reading of the golden vectors in tests/golden (its README documents every array)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parent / "golden"


@cache
def index() -> dict[str, Any]:
    return json.loads((FOLDER / "index.json").read_text())


@cache
def protocol_cases() -> dict[str, Any]:
    return json.loads((FOLDER / "protocol_cases.json").read_text())


@cache
def archive(name: str) -> dict[str, dict[str, np.ndarray]]:
    """case -> array name -> array."""
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        for key in file.files:
            case, array = key.split("/", 1)
            cases.setdefault(case, {})[array] = file[key]
    return cases


def fixed_point(values: np.ndarray, denominator: int = 16) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64) / denominator)


def assert_gradient(case: dict[str, np.ndarray], name: str, gradient: torch.Tensor, tolerance: float = 1e-10) -> None:
    """Compare with the stored gradient, whole or in its three summaries."""
    got = gradient.double().numpy()
    if name in case:
        close(got, case[name], tolerance)
        return
    rows, columns = got.shape
    close(got @ (((7 * np.arange(columns) + 3) % 11) - 5.0), case[f"{name}_rowproj"], tolerance)
    close((((5 * np.arange(rows) + 1) % 13) - 6.0) @ got, case[f"{name}_colproj"], tolerance)
    close(np.linalg.norm(got), case[f"{name}_fro"], tolerance)


def close(got: Any, expected: Any, tolerance: float = 1e-10) -> None:
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape
    assert np.all(np.abs(got - expected) <= tolerance * (1 + np.abs(expected))), np.abs(got - expected).max()
