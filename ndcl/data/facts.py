"""What a training keeps of its data set beside the weights: which one it was, and what a model made of it has to know.

A data set can be replaced under its name. So what a name stands for now says nothing of what a model was trained on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ndcl.data.store.format import Kind, short_digest
from ndcl.data.store.store import Store
from ndcl.errors import UserError
from ndcl.strict import from_dict, to_dict


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """One data set."""

    name: str
    digest: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    kind: Kind
    input_shape: tuple[int, ...]
    """Of one input as it is stored: (H, W, 3) or (F,)."""
    import_size: int | None
    """Height and width that images were given when they were imported; None: they were left as they are."""
    fit: Literal["stretch", "crop"]
    """How they were given that size."""

    @classmethod
    def of(cls, store: Store) -> "DataFacts":
        """Those of an open data set."""
        conversion = store.notes.get("conversion") or {}
        return cls(
            name=store.name,
            digest=store.digest,
            classes=store.classes,
            domains=store.domains,
            kind=store.kind,
            input_shape=store.input_shape,
            import_size=conversion.get("size"),
            fit=conversion.get("fit", "stretch"),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataFacts":
        """The inverse of `to_dict`."""
        return from_dict(cls, dict(values))

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return to_dict(self)


def require_same(found: DataFacts, digest: str, what: str, remedy: str) -> None:
    """Raise UserError unless `what` was made on the data set `found`, of which it tells the `digest`."""
    if found.digest != digest:
        raise UserError(
            f"{what}: made on data set '{found.name}' of digest {short_digest(digest)}, but under this name lies one "
            f"of digest {short_digest(found.digest)} now; {remedy}"
        )
