"""docs/commands.md has every verb of the command line, and every option beside its verb."""

import re
from pathlib import Path

import click
import pytest
from typer.main import get_command

from harness.cli import app

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "commands.md").read_text()


def verbs(group: click.Group, path: tuple[str, ...] = ("ndcl",)) -> dict[str, click.Command]:
    """All commands below a group by what is typed: `ndcl data import`."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= verbs(command, (*path, name))
        else:
            found[" ".join((*path, name))] = command
    return found


VERBS = verbs(get_command(app))


def rows() -> dict[str, str]:
    """Rows of the page's tables by the command in their first cell, without its arguments."""
    found = re.findall(r"^\| `(ndcl [^`]+)` \|(.*)$", PAGE, re.MULTILINE)
    return {re.sub(r" [A-Z\[].*$|(?<=bootstrap) aws$", "", command): row for command, row in found}


def test_the_page_has_every_verb_and_no_other() -> None:
    assert len(VERBS) > 20
    assert set(rows()) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_row_has_every_option_and_no_other(verb: str) -> None:
    options = {
        option
        for parameter in VERBS[verb].params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--") and option != "--help"
    }
    assert set(re.findall(r"--[a-z-]+", rows()[verb])) == options


def test_the_page_has_every_target_of_make() -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^\| `make (\w+)` ", PAGE, re.MULTILINE)) == set(targets.split()) - {"help"}
