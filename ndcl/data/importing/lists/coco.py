"""COCO-style JSON, as camera traps have it: images with a file name and a location, annotations, and categories."""

import json
from collections import defaultdict
from typing import Any

from ndcl.data.importing.lists.columns import Columns
from ndcl.data.importing.lists.files import read_text
from ndcl.data.importing.lists.rows import ListFile, Row, Table
from ndcl.errors import UserError

_EXPECTED = (
    "COCO-style JSON has images (id, file_name, location), annotations (image_id, category_id), categories (id, name)"
)


def read_coco(file: ListFile, columns: Columns) -> Table:
    """A row for each image and each category that it has; boxes of one category are one row.

    `columns` names other keys: path, domain and split those of images, label that of categories. Raises UserError for
    what is no such file.
    """
    images, annotations, categories = _parts(file)
    keys = Columns(
        path=columns.path or "file_name",
        label=columns.label or "name",
        domain=columns.domain or "location",
        split=columns.split or "split",
    )
    names = {_value(file, category, "id"): str(_value(file, category, keys.label)) for category in categories}
    found: dict[Any, dict[str, None]] = defaultdict(dict)  # the categories of each image, each once
    for annotation in annotations:
        number = _value(file, annotation, "category_id")
        if number not in names:
            raise UserError(f"{file.path.name}: an annotation has category {number}, which is not among its categories")
        found[_value(file, annotation, "image_id")][names[number]] = None
    domain_of = _domain_names(images, keys.domain, is_asked=bool(columns.domain), file=file)
    rows: list[Row] = []
    without = 0
    for number, image in enumerate(images, 1):
        path, split = str(_value(file, image, keys.path)), str(image.get(keys.split, file.split))
        domain = domain_of[str(image[keys.domain])] if domain_of else None
        labels = found.get(_value(file, image, "id"), {})
        rows += [Row(path, label, domain, split, file, number) for label in labels]
        without += not labels
    if not rows:
        raise UserError(f"{file.path.name} has no image with a category; {_EXPECTED}")
    words = f"path in '{keys.path}', label in the category's '{keys.label}'"
    return Table(
        tuple(rows),
        words + (f", domain in '{keys.domain}'" if domain_of else ""),
        (f"{file.path.name}: images without a category left out: {without:,}",) if without else (),
    )


def _parts(file: ListFile) -> tuple[list[dict[str, Any]], ...]:
    text, _ = read_text(file.path)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{file.path} can't be read as JSON ({error}); fetch it again") from None
    keys = ("images", "annotations", "categories")
    for key in keys:
        part = content.get(key) if isinstance(content, dict) else None
        if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
            raise UserError(f"{file.path} has no list of {key}; {_EXPECTED}")
    return tuple(content[key] for key in keys)


def _value(file: ListFile, entry: dict[str, Any], key: str) -> Any:
    value = entry.get(key)
    if value is None or isinstance(value, list | dict):
        what = ", ".join(f"{name} {value}" for name, value in list(entry.items())[:2])
        raise UserError(f"{file.path.name}: no '{key}' in {{{what}}}; {_EXPECTED}")
    return value


def _domain_names(images: list[dict[str, Any]], key: str, *, is_asked: bool, file: ListFile) -> dict[str, str]:
    """The name of each location: `location_38` where locations are numbers, as published sets have it.

    Empty if images have no such key and the user has not asked for it.
    """
    if not is_asked and not any(key in image for image in images):
        return {}
    values = {str(_value(file, image, key)) for image in images}
    is_numbered = all(value.lstrip("-").isdecimal() for value in values)
    return {value: f"{key}_{value}" if is_numbered else value for value in values}
