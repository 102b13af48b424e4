"""Annotation lists: which images there are, and the class and domain of each, as tables of text or COCO-style JSON.

Begin with `source.py`. `files.py` finds and reads the files, `table.py` and `coco.py` turn them into rows, `naming.py`
gives classes and domains their names.
"""

from ndcl.data.importing.lists.columns import Columns
from ndcl.data.importing.lists.files import LIST_SUFFIXES
from ndcl.data.importing.lists.source import ListSource

__all__ = ["LIST_SUFFIXES", "Columns", "ListSource"]
