"""Shipped clusters with a slip of the hand in them: one finding a cause, and no traceback, whatever was typed."""

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import commands
from harness.cluster.checks.check import findings_in_file, shape_of, structure_of
from harness.cluster.cost import fleet_of
from harness.cluster.files import ClusterFile, read_cluster
from harness.cluster.leftovers import LocalRemains
from harness.cluster.lifecycle import ends_by_itself
from harness.cluster.prices import read_prices
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import SHIPPED, filled_in, found

PRICES = read_prices()
SLIPS = yaml.safe_load(Path(__file__).with_name("broken_files.yaml").read_text())
WRONG = (None, "text", 7, True, ["item"], {"key": "value"}, [], {}, [None], [{"key": 1}])
"""Values of a type that is mostly another than what stands there."""


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip["slip"])
def test_a_slip_gets_the_one_line_that_it_needs(slip: dict[str, Any], tmp_path: Path) -> None:
    path = filled_in(slip["file"], tmp_path)
    text = path.read_text()
    for old, new in slip["edits"].items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    assert found(read_cluster(path)) == [slip["said"]]


def test_the_table_is_not_a_few() -> None:
    assert len(SLIPS) >= 40
    assert {slip["file"] for slip in SLIPS} >= {"aws", "aws-efa", "gcp", "azure", "kuberay", "local"}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document something stands."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*above, key)
        yield from places(value[key], (*above, key))


def broken(document: Any, place: tuple[Any, ...]) -> Iterator[Any]:
    """The document without what stands at a place, and with other things there."""
    for wrong in ("nothing", *WRONG):
        changed = copy.deepcopy(document)
        inside = changed
        for key in place[:-1]:
            inside = inside[key]
        if wrong == "nothing":
            del inside[place[-1]]
        else:
            inside[place[-1]] = copy.deepcopy(wrong)
        yield changed


@pytest.mark.parametrize("name", SHIPPED)
def test_whatever_stands_wherever_raises_nothing(name: str, tmp_path: Path) -> None:
    """All of it is told, or is right; here only that no check takes for granted what another one looks at."""
    file = read_cluster(filled_in(name, tmp_path))
    document = copy.deepcopy(json.loads(json.dumps(file.values)))
    seen = {("kind",)}  # by which `read_cluster` knows a file
    for place in places(document):
        alike = tuple("worker" if key in ("gpu_ondemand", "gpu_spot") else key for key in place)
        if alike in seen:
            continue
        seen.add(alike)
        for changed in broken(document, place):
            read = dataclasses.replace(file, values=changed)
            try:
                findings_in_file(read)
                for use in uses_of(read):
                    with contextlib.suppress(UserError):
                        use()
            except Exception as error:
                pytest.fail(f"{name} {place}: {error!r}")


def uses_of(file: ClusterFile) -> list[Callable[[], object]]:
    """What `cost` and the verbs of a cluster that is there read of a file that they do not refuse."""
    uses: list[Callable[[], object]] = [] if shape_of(file) else [lambda: fleet_of(file, PRICES)]
    if not structure_of(file):
        uses.append(lambda: ends_by_itself(file))
        uses.append(lambda: commands.submit(file, "a-20261124-190000", Path("a.yaml"), []))
        uses += [lambda: LocalRemains(file)] if file.kind == "local" and "head_ip" in file.provider else []
    return uses


@pytest.mark.parametrize("verb", ["check", "up", "down", "cost"])
def test_a_sweep_in_place_of_a_cluster_is_told_what_it_is(verb: str) -> None:
    given = ["search_spaces/digits.yaml"] * (2 if verb == "cost" else 1)
    result = CliRunner().invoke(app, ["cluster", verb, *given])
    assert result.exit_code == 2
    assert result.stderr.strip().endswith(
        "search_spaces/digits.yaml: it is the file of a sweep, not of a cluster; give a cluster's, such as "
        "clusters/aws.yaml. What sweeps take: ndcl plan search_spaces/digits.yaml"
    )
