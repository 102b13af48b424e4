"""A cluster's file as the verbs of `ndcl cluster` get it: read and checked here alone, so that none forgets to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import WRONG_INPUT
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.cluster.checks.findings import Finding
    from harness.cluster.files import ClusterFile


def readable_cluster(path: Path) -> "ClusterFile":
    """A file that Ray could read, or its findings and an exit; whether or not bootstrap has filled it in."""
    from harness.cluster.checks.check import structure_of
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    _require_none(file, structure_of(file))
    return file


def prepared_cluster(path: Path) -> "ClusterFile":
    """A readable file. Raises UserError for one that bootstrap has not filled in: Ray says so by a traceback."""
    from harness.cluster.checks.check import unprepared

    file = readable_cluster(path)
    if not file.is_prepared:
        raise UserError(f"{path}: {unprepared(file)}")
    return file


def reachable_cluster(path: Path) -> "ClusterFile":
    """A prepared file, for whose account there are credentials. Raises UserError otherwise."""
    from harness.cluster.aws.session import require_credentials

    file = prepared_cluster(path)
    require_credentials(file)
    return file


def shaped_cluster(path: Path) -> "ClusterFile":
    """A file by which a price can be told, or its findings and an exit; placeholders may still stand there."""
    from harness.cluster.checks.check import shape_of
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    _require_none(file, shape_of(file))
    return file


def right_cluster(path: Path, *, offline: bool) -> "ClusterFile":
    """A file in which nothing is wrong, or its findings and an exit."""
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    require_right(file, offline=offline)
    return file


def require_right(file: "ClusterFile", *, offline: bool = False) -> None:
    """Print what is wrong with a cluster, in a line each, and exit; where all is right, what else is known."""
    from harness.cluster.checks.check import findings_in_file, findings_outside, notes_outside

    found = findings_in_file(file)
    if not found and not offline:
        found = list(findings_outside(file))
    _require_none(file, found)
    for note in () if offline else notes_outside(file):
        say(f"{file.path}: {note}")


def _require_none(file: "ClusterFile", found: "Sequence[Finding]") -> None:
    for finding in found:
        say(f"{file.path}: {finding}")
    if found:
        say(f"{len(found)} finding{'s' if len(found) > 1 else ''}")
        raise typer.Exit(WRONG_INPUT)
