"""One row of a list, whatever the list's form."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ListFile:
    """A file of a list."""

    path: Path
    domain: str
    """The domain that its name tells: `clipart` of clipart_train.txt; empty if it tells none."""
    split: str
    """The split that its name tells: `train` of clipart_train.txt."""

    @property
    def is_json(self) -> bool:
        """Whether it is COCO-style JSON, and no table of text."""
        return self.path.suffix.lower() == ".json"


@dataclass(frozen=True, slots=True)
class Row:
    """An image of a list. A value that the list does not have is None."""

    path: str
    """As the list has it."""
    label: str | None
    domain: str | None
    split: str
    file: ListFile
    number: int
    """Of the line or image, from 1."""

    @property
    def place(self) -> str:
        """`clipart_train.txt, line 3`."""
        return f"{self.file.path.name}, {'image' if self.file.is_json else 'line'} {self.number}"


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file, and what was made out of it."""

    rows: tuple[Row, ...]
    columns: str
    """Where path, label and domain stand, in words: equal for files of the same form."""
    remarks: tuple[str, ...] = ()
    """What was guessed or passed over, in words."""
    unused: tuple[str, ...] = ()
    """Names of the columns that are not read."""
