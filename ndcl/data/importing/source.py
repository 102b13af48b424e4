"""What an import reads from, whatever its form: a list of labelled inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from ndcl.data.importing.images import Content

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "crossval"})
"""Names by which sources split a domain. The splits are joined, and images that stand in two of them are found."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input of a source."""

    content: Content | NDArray[Any]
    """An image as a file, encoded or as pixels; or a feature vector [F], of any type of float."""
    label: int
    """Its index in `classes`; NO_LABEL if it has none."""
    domain: int
    """Its index in `domains`; NO_LABEL if it has none."""
    path: str
    """Where it comes from, as is shown and stored."""
    split: str = ""
    """Of the source's own splits, if it has any."""
    fault: str = ""
    """Why it can't be imported, whatever its content."""


SourceKind = Literal["images", "pixels", "vectors"]
"""`images` are encoded, `pixels` are decoded and of one size, `vectors` are features."""


class Source(Protocol):
    """A list of labelled inputs. What they must be is checked by `CheckedSource`, for all sources alike."""

    kind: SourceKind
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    remarks: tuple[str, ...]
    """What was made of a layout or of names that the owner may not expect, a sentence each."""
    shape: tuple[int, ...] | None
    """Of one input; None if that is known only once it is decoded."""
    dtype: str

    def __len__(self) -> int:
        """Number of items."""

    def items(self) -> Iterator[Item]:
        """All items in an order that is always the same; nothing large is held in memory."""
