"""The files of a list: found, read as text, and what their names tell."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path

from ndcl.data.importing.lists.rows import ListFile
from ndcl.data.importing.source import SPLITS
from ndcl.errors import UserError

LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".json")
_ENDINGS = ", ".join(LIST_SUFFIXES)
_NO_DOMAIN = SPLITS | {"kfold", "list", "lists", "split", "splits", "label", "labels", "annotations", "metadata"}
"""Words at the end of a list's name that are no part of its domain's: art_painting_train_kfold.txt is art_painting."""
_PARTS = re.compile(r"[_\-. ]+")


def find_lists(given: Sequence[Path]) -> list[ListFile]:
    """The files given, and those in a folder given, in order of name. Raises UserError if there are none."""
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = list(filter(_is_list, sorted(path.iterdir())))
            if not inside:
                raise UserError(f"--list: {path} holds no list; a list is a file {_ENDINGS}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"--list: {path} does not exist; give a file {_ENDINGS}, or a folder of them")
    return [_described(path) for path in dict.fromkeys(found)]


def read_text(path: Path) -> tuple[str, str]:
    """A list as text, and a remark if its encoding had to be guessed: UTF-8, UTF-16, or western European Windows."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); check its permissions") from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _utf16(path, raw), ""
    if b"\0" in raw:
        raise UserError(f"{path} is no text; a list is text: CSV, columns with blanks between them, or JSON")
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), f"{path.name} is no UTF-8; it was read as Windows-1252"


def _utf16(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-16")
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: it starts as UTF-16, but what follows is not; fetch it again") from None


def _is_list(file: Path) -> bool:
    is_hidden = file.name.startswith(".") or file.stem.lower().startswith("readme")
    return file.suffix.lower() in LIST_SUFFIXES and file.is_file() and not is_hidden


def _described(path: Path) -> ListFile:
    """With the domain and the split that its name tells."""
    words = _PARTS.split(path.stem)
    split = next((word.lower() for word in reversed(words) if word.lower() in SPLITS), "")
    kept = len(words)
    while kept and words[kept - 1].lower() in _NO_DOMAIN:
        kept -= 1
    domain = _begin(path.stem, kept)
    return ListFile(path, domain, split)


def _begin(stem: str, num_words: int) -> str:
    """The first words of a name, with what stands between them."""
    pieces = re.split(f"({_PARTS.pattern})", stem)
    return "".join(pieces[: max(0, 2 * num_words - 1)])
