"""Commands as a user types them, fit to be copied into a shell. Pure."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.config.yaml_files import parse_yaml
from harness.records.places import DEFAULT_RESULTS, SWEEP_FILE
from harness.terminal.legible import legible
from ndcl.errors import UserError


def ndcl_command(
    *words: object,
    results: Path | None = None,
    storage: str | None = None,
    address: str | None = None,
    folder: str | None = None,
    settings: Sequence[str] = (),
    to: Path | None = None,
) -> str:
    """The command of these words, quoted, with the options that are needed: `ndcl report tiny --results 'my results'`.

    `results` is left out where it is the default. Words of capitals and dots stand for what the user has.
    """
    options: list[tuple[str, object]] = [("--set", setting) for setting in settings]
    options += [("--to", to)] if to is not None else []
    options += [("--results", results)] if results not in (None, DEFAULT_RESULTS) else []
    options += [(name, value) for name, value in (("--storage", storage), ("--address", address)) if value]
    options += [("--folder", folder)] if folder is not None else []
    return " ".join(["ndcl", *map(typed, words), *(f"{name} {typed(value)}" for name, value in options)])


def sweep_command(file: str, settings: Sequence[str], results: Path) -> str:
    """`ndcl sweep FILE` with all options that say which sweep it is."""
    return ndcl_command("sweep", file, settings=settings, results=results)


def typed(word: object) -> str:
    """A word as a shell takes it, whatever its characters."""
    text = str(word)
    if legible(text) == text:
        return shlex.quote(text)
    inner = "".join(_ansi(character) for character in text)
    return f"$'{inner}'"


def setting(key: str, value: Any) -> str:
    """`key=value` for `--set`, with the value as YAML that reads back as it is: `data.name='2024'`."""
    for style in (None, '"'):
        written = yaml.safe_dump(value, default_style=style, default_flow_style=True, allow_unicode=True, width=10**6)
        text = written.strip().removesuffix("...").strip()
        if parse_yaml(text) == value:
            break
    return f"{key}={text}"


def to_continue(folder: Path, storage: str | None = None, address: str | None = None) -> str:
    """What continues the sweep at `folder`: its file there has all that was set when it was started."""
    return ndcl_command("sweep", folder / SWEEP_FILE, results=folder.parent, storage=storage, address=address)


def no_sweep(name: str, results: Path) -> UserError:
    """The error where a sweep has not been run."""
    run = ndcl_command("sweep", "SWEEP.yaml", results=results)
    return UserError(f"there is no sweep '{name}' in {results}; run it first with: {run}, or give --results")


def _ansi(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if legible(character) == character:
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
