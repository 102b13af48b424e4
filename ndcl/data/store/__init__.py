"""How a data set lies on disk: `format.py` says what, `writer.py` writes it, `store.py` reads it."""

from ndcl.data.store.store import Store
from ndcl.data.store.writer import StoreWriter

__all__ = ["Store", "StoreWriter"]
