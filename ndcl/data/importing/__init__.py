"""Import of a data set from folders of images, annotation lists, Parquet or arrays into a store."""

from ndcl.data.importing.content import checked
from ndcl.data.importing.importer import BadImagesError, Imported, ImportOptions, import_dataset
from ndcl.data.importing.lists.columns import Columns
from ndcl.data.importing.opening import open_source

__all__ = ["BadImagesError", "Columns", "ImportOptions", "Imported", "checked", "import_dataset", "open_source"]
