"""Which names are accepted, everywhere alike.

A name that a user makes up (of a sweep, a data set, an algorithm's entry, a setting) is typed into shells and becomes
part of addresses: letters, digits and `. _ + -`. What folders and tables call a domain or a class is free text.
"""

import re

from ndcl.errors import UserError

MAX_NAME_LENGTH = 100
MAX_TEXT_LENGTH = 250
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def is_name(text: str) -> bool:
    """Whether `text` is fit for what a user makes up a name for."""
    return bool(_NAME.fullmatch(text)) and len(text) <= MAX_NAME_LENGTH


def require_name(text: str, key: str = "") -> str:
    """A name that a user has made up, as it is; `key` says where it stands.

    Raises UserError: what is wrong with it, and one that is right.
    """
    if is_name(text):
        return text
    where = f"{key}: " if key else ""
    if len(text) > MAX_NAME_LENGTH:
        raise UserError(
            f"{where}'{text[:20]}...' has {len(text)} characters; give a name of at most {MAX_NAME_LENGTH} characters"
        )
    raise UserError(
        f"{where}{text!r} can't be a name; use letters (a to z), digits and . _ + -, and begin with a letter or digit"
        f"{_suggestion(text)}"
    )


def require_text(text: str, what: str = "") -> str:
    """The name of a domain or class, which `what` tells, as it is.

    Raises UserError if it can't be shown in one line or is too long.
    """
    problem = _problem(text)
    if problem is None:
        return text
    raise UserError(f"{f'{what} ' if what else ''}{text[:40]!a} {problem}; rename it")


def _problem(text: str) -> str | None:
    if not text.strip():
        return "is empty"
    if len(text) > MAX_TEXT_LENGTH:
        return f"has {len(text)} characters, more than {MAX_TEXT_LENGTH}"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "is no valid Unicode"
    if len(text.splitlines()) > 1 or any(ord(character) < 32 or ord(character) == 127 for character in text):
        return "holds a line break, a tab or another control character"
    return None


def _suggestion(text: str) -> str:
    """The nearest right name, if anything of it is left."""
    near = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._+-")
    return f", such as {near}" if is_name(near) else ""
