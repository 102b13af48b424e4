"""Lists as text: CSV with commas, semicolons or tabs, or columns with blanks between them; with a header or without.

Empty lines and lines that begin with # are passed over. In a list with blanks, the path may hold some itself.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence

from ndcl.data.importing.lists.columns import Columns, Places, is_header, looks_like_image, places
from ndcl.data.importing.lists.files import read_text
from ndcl.data.importing.lists.rows import ListFile, Row, Table
from ndcl.errors import UserError

_DELIMITERS = ("\t", ",", ";")
_SAMPLE = 200
"""Rows from which the form of a list is made out."""

Record = tuple[int, list[str]]
"""A line's number, from 1, and its fields."""


def read_table(file: ListFile, columns: Columns, exists: Callable[[str], bool]) -> Table:
    """The rows of a list. `exists` says whether a path is one of an image.

    Raises UserError for what is no list, a column that can't be made out, and rows of another width.
    """
    text, remark = read_text(file.path)
    lines = text.splitlines()
    records = _delimited(file, lines, columns) or _blank_separated(file, lines, columns, exists)
    if not records:
        raise UserError(f"{file.path} is empty; a list has a row for each image")
    first, sample = records[0][1], [fields for _, fields in records[1 : _SAMPLE + 1]]
    names = first if is_header(first, columns, sample) else []
    body = records[1:] if names else records
    if not body:
        raise UserError(f"{file.path} has no rows below its header")
    found = places(names, [fields for _, fields in body[:_SAMPLE]], columns, file.path.name)
    width = len(first)
    rows = tuple(_row(file, record, found, width) for record in body)
    return Table(rows, found.words, (remark,) if remark else (), found.unused)


def _row(file: ListFile, record: Record, found: Places, width: int) -> Row:
    number, values = record
    if len(values) != width:
        raise UserError(
            f"{file.path.name}, line {number}: has {len(values)} columns and the first row {width}; quote a value that "
            "holds the delimiter"
        )

    def value(index: int | None) -> str | None:
        return None if index is None else values[index].strip()

    path, split = values[found.path].strip(), value(found.split)
    if not path:
        raise UserError(f"{file.path.name}, line {number}: holds no path; remove the line or mend it")
    return Row(path, value(found.label), value(found.domain), file.split if split is None else split, file, number)


def _delimited(file: ListFile, lines: Sequence[str], columns: Columns) -> list[Record]:
    """By the first sign that gives two columns or more, one of them with paths; empty if there is none."""
    for delimiter in _DELIMITERS:
        sample = _records(file, lines[:_SAMPLE], delimiter)
        if sample and len(sample[0][1]) > 1 and _has_paths([fields for _, fields in sample], columns):
            return _records(file, lines, delimiter)
    return []


def _records(file: ListFile, lines: Sequence[str], delimiter: str) -> list[Record]:
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    try:
        return [(reader.line_num, fields) for fields in reader if _is_row(fields)]
    except csv.Error as error:
        raise UserError(
            f"{file.path.name}, line {reader.line_num}: can't be read ({error}); is a quotation mark missing?"
        ) from None


def _is_row(fields: Sequence[str]) -> bool:
    """Neither empty nor a comment."""
    if not any(value.strip() for value in fields):
        return False
    return not fields[0].lstrip().startswith("#") or any(map(looks_like_image, fields))


def _has_paths(rows: Sequence[Sequence[str]], columns: Columns) -> bool:
    return is_header(rows[0], columns, rows[1:]) or any(looks_like_image(value) for row in rows for value in row)


def _blank_separated(
    file: ListFile, lines: Sequence[str], columns: Columns, exists: Callable[[str], bool]
) -> list[Record]:
    tokens = [(number, _tokens(line)) for number, line in enumerate(lines, 1)]
    kept = [(number, found) for number, found in tokens if _is_row([text for text, _, _ in found] or [""])]
    if not kept:
        return []
    first = [text for text, _, _ in kept[0][1]]
    below = [[text for text, _, _ in found] for _, found in kept[1 : _SAMPLE + 1]]
    if is_header(first, columns, below):
        found = places(first, [fields[: len(first)] for fields in below] or [first], columns, file.path.name)
        before, after = found.path, len(first) - 1 - found.path
    else:
        sample = [(lines[number - 1], found) for number, found in kept[:_SAMPLE]]
        before, after = _around_the_path(sample, exists)
    if before < 0:
        return [(number, [text for text, _, _ in found]) for number, found in kept]
    return [(number, _joined(lines[number - 1], found, before, after)) for number, found in kept]


Token = tuple[str, int, int]
"""Its text, and where it begins and ends in the line."""


def _tokens(line: str) -> list[Token]:
    """What stands between blanks; a quoted token may hold some."""
    return [(match[1] or match[0], match.start(), match.end()) for match in re.finditer(r'"([^"]+)"(?=\s|$)|\S+', line)]


def _around_the_path(sample: Sequence[tuple[str, list[Token]]], exists: Callable[[str], bool]) -> tuple[int, int]:
    """How many columns stand before the path and behind it; before is -1 if no column holds paths."""
    ends = [_last_image(tokens) for _, tokens in sample]
    behind = Counter(len(tokens) - 1 - end for (_, tokens), end in zip(sample, ends, strict=True) if end >= 0)
    if not behind:
        return -1, 0
    after = behind.most_common(1)[0][0]
    usual = [(line, tokens) for line, tokens in sample if len(tokens) > after]
    most = min(len(tokens) - 1 - after for _, tokens in usual)
    for before in range(most, -1, -1):
        if any(exists(_joined(line, tokens, before, after)[before]) for line, tokens in usual):
            return before, after
    return most, after


def _last_image(tokens: Sequence[Token]) -> int:
    return max((index for index, (text, _, _) in enumerate(tokens) if looks_like_image(text)), default=-1)


def _joined(line: str, tokens: Sequence[Token], before: int, after: int) -> list[str]:
    """The fields of a line, with the blanks of its path kept."""
    texts = [text for text, _, _ in tokens]
    end = len(tokens) - after
    if end - before <= 1:
        return texts
    return [*texts[:before], line[tokens[before][1] : tokens[end - 1][2]], *texts[end:]]
