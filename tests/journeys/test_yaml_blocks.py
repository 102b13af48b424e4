"""Every YAML block of the pages, laid over the smallest sweep that they show, can be planned; or it is a training."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config import load_sweep
from harness.config.yaml_files import parse_yaml
from harness.plan import make_plan
from harness.plan.checks import buildable
from harness.trials.standalone import load_training
from ndcl.data.catalogue import entry_of
from tests.journeys.guides import Block, block, blocks, pages
from tests.journeys.not_run import NOT_RUN
from tests.made.stand_ins import import_counts

WHOLE = ("imbalance", "algorithms")
"""Keys of which a block gives all that there is."""
OWN_LOSS = block("docs/extending.md", "from dataclasses")
"""The module that a block of the same page names."""
SMALLEST = block("docs/search_space.md", "name: digits")


def _is_excused(found: Block) -> bool:
    return any(found.file == file and found.text.startswith(start) for file, start in NOT_RUN)


YAML_BLOCKS = [
    found for page in pages() for found in blocks(page) if found.language == "yaml" and not _is_excused(found)
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a stand-in for PACS, of as many images."""
    folder = tmp_path_factory.mktemp("data")
    import_counts(entry_of("PACS"), entry_of("PACS").counts, folder)
    return folder


def alternatives(text: str) -> list[dict[str, Any]]:
    """The values of a block; where it gives one key on several lines, those are alternatives."""
    try:
        return [parse_yaml(text)]
    except yaml.YAMLError:
        return [parse_yaml(line) for line in text.splitlines()]


def laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: laid_over(below.get(key), value) for key, value in above.items()}


@pytest.mark.parametrize("found", YAML_BLOCKS, ids=lambda found: f"{found.file}: {found.text.splitlines()[0]}")
def test_a_yaml_block_can_be_planned(found: Block, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDCL_DATA", str(data))
    (tmp_path / "my_losses.py").write_text(OWN_LOSS.text)
    monkeypatch.syspath_prepend(tmp_path)
    for values in alternatives(found.text):
        if "algorithm" in values:
            (tmp_path / "training.yaml").write_text(found.text)
            buildable(load_training(tmp_path / "training.yaml"))
            continue
        below = deepcopy(parse_yaml(SMALLEST.text))
        del below["space"]
        sweep = laid_over(below, values) | {key: values[key] for key in WHOLE if key in values}
        if "data" in values:
            sweep["data"] = {"targets": ["photo"] if values["data"]["name"] == "pacs" else "all", **values["data"]}
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(sweep, sort_keys=False))
        assert make_plan(load_sweep(path), tmp_path).studies
