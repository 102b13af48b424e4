"""Import of a data set from folders of images, Parquet or arrays into a store."""

from ndcl.data.importing.importer import BadImagesError, Imported, ImportOptions, import_dataset
from ndcl.data.importing.opening import open_source

__all__ = ["BadImagesError", "ImportOptions", "Imported", "import_dataset", "open_source"]
