"""Which column holds what: by the user's word, by the column's name, or by what stands in it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from ndcl.data.importing.walk import IMAGE_SUFFIXES
from ndcl.errors import UserError

PATH_NAMES = (
    *("path", "filename", "file_name", "file", "filepath", "file_path", "image_path", "img_path", "image_filename"),
    *("img_filename", "image_name", "img_name", "image_file", "image", "img"),
)
LABEL_NAMES = (
    *("class_name", "label_name", "category_name", "label", "labels", "class", "target", "category", "y"),
    *("species", "species_name", "breed", "animal", "classname", "class_label", "class_id", "label_id", "category_id"),
)
DOMAIN_NAMES = (
    *("domain", "domain_name", "domains", "environment", "env", "location_remapped", "location", "place", "camera"),
    *("site", "center", "hospital"),
)
SPLIT_NAMES = ("split", "partition", "subset")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the user says: the name or the number (from 1) of a column; empty where it is to be found."""

    path: str = ""
    label: str = ""
    domain: str = ""
    split: str = ""

    @classmethod
    def parsed(cls, text: str) -> "Columns":
        """From `path=img,label=y`. Raises UserError for anything else."""
        known = [field.name for field in fields(cls)]
        pairs = [part.partition("=") for part in text.split(",")] if text else []
        for key, sign, value in pairs:
            if key.strip() not in known or not sign or not value.strip():
                raise UserError(
                    f"--columns: '{text}' must be such as path=img,label=y,domain=place: any of {', '.join(known)}, "
                    "and the name or the number of its column"
                )
        return cls(**{key.strip(): value.strip() for key, _, value in pairs})


@dataclass(frozen=True, kw_only=True)
class Places:
    """Indices of the columns; None for what the list does not have."""

    path: int
    label: int | None
    domain: int | None
    split: int | None
    names: tuple[str, ...]
    """Of the columns; empty where the list does not name them."""

    @property
    def unused(self) -> tuple[str, ...]:
        """The named columns that are not read."""
        used = (self.path, self.label, self.domain, self.split)
        return tuple(name for index, name in enumerate(self.names) if index not in used and name.strip())

    @property
    def words(self) -> str:
        """Which column is what, for the user."""
        found = {"path": self.path, "label": self.label, "domain": self.domain, "split": self.split}
        return ", ".join(f"{what} in {self._column(index)}" for what, index in found.items() if index is not None)

    def _column(self, index: int) -> str:
        return f"column '{self.names[index]}'" if self.names else f"column {index + 1}"


def looks_like_image(value: str) -> bool:
    """Whether a value ends as the name of an image."""
    return value.strip().lower().endswith(tuple(IMAGE_SUFFIXES))


def is_header(first: Sequence[str], wanted: Columns, below: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns."""
    if any(map(looks_like_image, first)):
        return False
    names = list(map(_plain, first))
    is_known = any(name in PATH_NAMES for name in names)
    is_asked = any(getattr(wanted, field.name) in first for field in fields(wanted) if getattr(wanted, field.name))
    is_path = any("/" in value for value in first)  # of a file without a suffix
    return is_known or is_asked or (not is_path and any(looks_like_image(value) for row in below for value in row))


def places(names: Sequence[str], sample: Sequence[Sequence[str]], wanted: Columns, file: str) -> Places:
    """Where everything stands. `names` is empty for a list without a header; `sample` holds rows of it.

    Raises UserError for a column that is not there or can't be made out.
    """
    width = len(names) or len(sample[0])
    asked = {key: _asked(key, getattr(wanted, key), names, width, file) for key in ("path", "label", "domain", "split")}
    path = asked["path"]
    if path is None:
        path = _by_name(names, PATH_NAMES)
    if path is None:
        path = _by_content(sample)
    if path is None:
        raise UserError(
            f"{file}: no column holds the paths of images{_has(names)}; name it, as with "
            f"--columns path={_example(names)}"
        )
    label = asked["label"] if asked["label"] is not None else _by_name(names, LABEL_NAMES)
    domain = asked["domain"] if asked["domain"] is not None else _by_name(names, DOMAIN_NAMES)
    split = asked["split"] if asked["split"] is not None else _by_name(names, SPLIT_NAMES)
    if not names:
        label = _last_one(width, (path, label, domain, split), label, file)
    return Places(path=path, label=label, domain=domain, split=split, names=tuple(names))


def _asked(key: str, column: str, names: Sequence[str], width: int, file: str) -> int | None:
    """The index of the column that the user names for `key`."""
    if not column:
        return None
    if column in names:
        return list(names).index(column)
    if column.isdecimal() and 1 <= int(column) <= width:
        return int(column) - 1
    has = f"the columns {', '.join(names)}" if names else f"{width} columns without names"
    raise UserError(f"{file}: no column '{column}' for --columns {key}=; it has {has}")


def _by_name(names: Sequence[str], known: Sequence[str]) -> int | None:
    """The column of the first known name that there is."""
    plain = list(map(_plain, names))
    return next((plain.index(name) for name in known if name in plain), None)


def _plain(name: str) -> str:
    """`class_name` for `Class Name`."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _by_content(sample: Sequence[Sequence[str]]) -> int | None:
    """The first column that holds names of images in most rows."""
    width = min(map(len, sample), default=0)
    counts = [sum(looks_like_image(row[index]) for row in sample) for index in range(width)]
    return next((index for index, count in enumerate(counts) if 2 * count > len(sample)), None)


def _last_one(width: int, used: Sequence[int | None], label: int | None, file: str) -> int | None:
    """The label's column in a list without names: the only one left. None if the paths are all it has."""
    left = [index for index in range(width) if index not in used]
    if label is not None or not left:
        return label
    if len(left) > 1:
        raise UserError(
            f"{file} has {width} columns and does not name them; say which is which, as with --columns "
            "path=1,label=2,domain=3"
        )
    return left[0]


def _has(names: Sequence[str]) -> str:
    return f" among {', '.join(names)}" if names else ""


def _example(names: Sequence[str]) -> str:
    return names[0] if names else "1"
