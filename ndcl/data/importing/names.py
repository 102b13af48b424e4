"""Names of classes and domains as they are stored, whichever source they come from."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_FILLER = re.compile(r"(?<=\w)[\s-]+(?=\w)")


def clean_name(name: str) -> str:
    """A name as it is stored: in Unicode's form NFC, without blanks at its ends.

    macOS writes `ü` as two characters (NFD) and a keyboard as one: the two look alike, and are one name.
    """
    return unicodedata.normalize("NFC", readable(name)).strip()


def readable(text: str) -> str:
    """A text that can be printed and stored, also if it was a file's name that is no valid Unicode."""
    return text if text.isascii() else os.fsencode(text).decode("utf-8", "backslashreplace")


def shown(path: Path) -> str:
    """A path as text, also if its name is no valid Unicode."""
    return readable(path.as_posix())


def joined(what: str, names: Iterable[str]) -> list[str]:
    """Remarks on different names that are one once cleaned."""
    raw = defaultdict(list)
    for name in dict.fromkeys(names):
        raw[clean_name(name)].append(name)
    return [
        f"{', '.join(map(ascii, group))} are read as one {what}: '{name}'"
        for name, group in raw.items()
        if len(group) > 1
    ]


def lookalikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ in case, blanks, `_`, `-` or Unicode form only, in order of their first ones."""
    groups = defaultdict(list)
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold().replace("_", " ").strip()
        groups[_FILLER.sub("", plain)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]
