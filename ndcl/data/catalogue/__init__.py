"""The five public data sets: what is in them, where they come from and what may be done with them.

The counts are those of the file lists that published experiments used; see docs/data.md.
"""

from ndcl.data.catalogue.entries import CATALOGUE, Entry, OpenFile, Variant, entry_of, find_entry, plain

__all__ = ["CATALOGUE", "Entry", "OpenFile", "Variant", "entry_of", "find_entry", "plain"]
