"""For each module a fresh clone and its own home, in which the embedded digits are drawn already."""

import shutil
from pathlib import Path

import pytest

from ndcl.data import open_dataset
from tests.journeys.clone import Clone


@pytest.fixture(scope="session")
def drawn_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "ndcl"
    open_dataset("digits", str(folder))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, drawn_digits: Path) -> Path:
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(drawn_digits, home / ".cache" / "ndcl")
    return home


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Clone:
    return Clone(tmp_path_factory.mktemp("work") / "ndcl", home)
