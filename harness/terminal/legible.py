"""Text that any output can hold: names of files, classes and domains may have any character, or be no text. Pure."""

import codecs
import unicodedata

ERRORS = "harness.terminal.legible"
"""Name by which `str.encode` and streams know what to do with characters that an encoding lacks."""
SUBSTITUTES = {"±": "+-", "…": "...", "\N{MINUS SIGN}": "-"}
"""Of our own signs, where an encoding lacks them."""
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that reverse the text behind them."""


def legible(text: str, encoding: str | None = "utf-8") -> str:
    r"""`text` on one line, in characters that `encoding` has: `gr\xfcn.png` for a name that is no valid UTF-8.

    Control characters become escapes, too: a name must not be able to move the cursor or to fake a line.
    """
    shown = text if text.isascii() and text.isprintable() else "".join(map(_shown, text))
    encoding = encoding or "utf-8"
    return shown.encode(encoding, ERRORS).decode(encoding)


def as_text(name: str) -> str:
    r"""`name` as valid Unicode and otherwise unchanged, for files: bytes that are no UTF-8 are written `\xfc`."""
    return name.encode("utf-8", ERRORS).decode("utf-8")


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in DIRECTIONS
    return _escaped(character) if hidden else character


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is no text, as Python reads it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that can't be encoded."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(SUBSTITUTES.get(character) or _escaped(character) for character in lacking), error.end


codecs.register_error(ERRORS, _replaced)
