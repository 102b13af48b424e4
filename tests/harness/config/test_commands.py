"""Commands that are printed work when they are copied: each parses with the real command line."""

import ast
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import app
from harness.config.commands import ndcl_command, setting, to_continue, typed
from tests.test_architecture import ROOT, sources

ROOT_COMMAND = typer.main.get_command(app)
WRITTEN = re.compile(r"\bndcl((?: [a-z]+)+)((?: (?:--[a-z-]+|[A-Z][\w.]*|\S+\.ya?ml|\d\S*))*)")
"""A command in a text: its verbs, then options, words of capitals that stand for what the user has, and files."""
PROSE = {"ndcl", "can", "goes", "on", "it", "its", "the", "which", "reads"}


def found(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and the words behind it."""
    command: Any = ROOT_COMMAND
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def require_parses(line: str) -> dict[str, Any]:
    program, *words = shlex.split(line)
    assert program == "ndcl"
    command, rest = found(words)
    params: dict[str, Any] = command.make_context("ndcl", rest).params
    return params


def texts(path: Path) -> list[tuple[int, ast.AST]]:
    """Strings that are no docstrings, with their lines."""
    tree = ast.parse(path.read_text())
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    parts = [part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values]
    known = {id(node) for node in (*statements, *parts)}
    strings = (ast.JoinedStr, ast.Constant)
    return [
        (node.lineno, node)
        for node in ast.walk(tree)
        if isinstance(node, strings) and id(node) not in known and not isinstance(getattr(node, "value", ""), bytes)
    ]


def as_text(node: ast.AST) -> str:
    """A string with a mark where a value is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return str(getattr(node, "value", ""))


def test_every_command_in_a_message_exists_and_takes_its_options() -> None:
    seen = 0
    for path in sources("harness") + sources("ndcl"):
        for line, node in texts(path):
            for match in WRITTEN.finditer(as_text(node)):
                verbs, options = match[1].split(), match[2].split()
                if verbs[0] not in ROOT_COMMAND.commands:  # type: ignore[attr-defined]
                    assert PROSE & set(verbs) or verbs[0] in PROSE, f"{path}:{line}: {match[0]}"
                    continue
                seen += 1
                command, rest = found(verbs)
                names = {name for parameter in command.params for name in parameter.opts}
                assert set(filter(lambda word: word.startswith("--"), options)) <= names, f"{path}:{line}: {match[0]}"
                assert rest == [] or not hasattr(command, "commands"), f"{path}:{line}: {match[0]}"
    assert seen > 20


def test_values_in_commands_are_quoted() -> None:
    """A value that is filled into a command written by hand breaks where it has a blank."""
    filled = [
        f"{path.relative_to(ROOT)}:{line}: {as_text(node)!r}"
        for path in sources("harness")
        for line, node in texts(path)
        if re.search(r"\bndcl (data |cluster )?[a-z]+ ([^:;,(]* )?\0", as_text(node))
    ]
    assert filled == []


def test_commands_that_are_made_name_verbs_and_options_that_exist() -> None:
    calls = [
        (path, node)
        for path in sources("harness")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ndcl_command"
    ]
    assert len(calls) > 10
    for path, call in calls:
        words = [str(word.value) if isinstance(word, ast.Constant) else "some" for word in call.args]
        words = ["show" if isinstance(word, ast.IfExp) else text for word, text in zip(call.args, words, strict=True)]
        command, _ = found(words)
        names = {name for parameter in command.params for name in parameter.opts}
        options = {f"--{'set' if key.arg == 'settings' else key.arg}" for key in call.keywords}
        assert options <= names, f"{path}:{call.lineno}"


WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).filter(lambda w: w[0] != "-")


@given(WORDS, WORDS, WORDS)
def test_a_copied_command_has_every_value_as_it_was(name: str, results: str, place: str) -> None:
    printable = name.isprintable() and results.isprintable() and place.isprintable()
    line = ndcl_command(
        "sweep", f"{name}.yaml", results=Path(results), storage=place, settings=[setting("data.folder", place)]
    )
    if printable:
        given = require_parses(line)
        assert (given["sweep"], given["storage"]) == (Path(f"{name}.yaml"), place)
        assert Path(given["results"]) == Path(results)
        assert yaml.safe_load(given["settings"][0].partition("=")[2]) == place


@pytest.mark.parametrize("word", ["a b", "it's", "gr\udcfcn.png", "new\nline", "$HOME", "日本", "a\x1b[2J'\\", "*"])
def test_a_shell_gets_the_word(word: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {typed(word)}"], capture_output=True, check=True)
    assert done.stdout == word.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("value", ["2024", "yes", "null", "a: b", "#x", "1e-3", "[a]", "mine", "", " x"])
def test_a_setting_reads_back_as_it_is(value: str) -> None:
    from harness.config.yaml_files import parse_setting

    assert parse_setting(setting("name", value), "") == ("name", value)


def test_only_what_is_needed_is_said() -> None:
    assert ndcl_command("report", "tiny", results=Path("results")) == "ndcl report tiny"
    assert ndcl_command("ui", results=Path("my results")) == "ndcl ui --results 'my results'"
    assert to_continue(Path("results/tiny"), storage="s3://bucket/x", address="10.0.0.1:6379") == (
        "ndcl sweep results/tiny/sweep.yaml --storage s3://bucket/x --address 10.0.0.1:6379"
    )
    assert require_parses(to_continue(Path("r/tiny")))["results"] == Path("r")


def commands_in_headers() -> list[tuple[str, str]]:
    """Commands in the comments of the search spaces, to the end of the line or of their quotes."""
    found = []
    for path in sorted((ROOT / "search_spaces").glob("*.yaml")):
        for line in path.read_text().splitlines():
            if line.startswith("#"):
                for part in re.findall(r"\bndcl (?:data |cluster )?[a-z]+ [^`\n]*", re.sub(r"`[^`]*`", "", line)):
                    found += [(path.name, piece) for piece in re.split(r", then: |,|   |\(", part) if "ndcl" in piece]
    return found


@pytest.mark.parametrize(("file", "line"), commands_in_headers())
def test_commands_in_the_search_spaces_parse(file: str, line: str) -> None:
    given = require_parses(line.strip())
    if "sweep" in given:
        assert (ROOT / given["sweep"]).is_file()
