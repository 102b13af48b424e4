"""Data sets by name, path or URI: stores, and how to open and write them."""

from ndcl.data.datasets import data_folder, dataset_names, domains_of, open_dataset
from ndcl.data.store.store import Store
from ndcl.data.store.writer import StoreWriter

__all__ = ["Store", "StoreWriter", "data_folder", "dataset_names", "domains_of", "open_dataset"]
