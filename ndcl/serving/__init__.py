"""Trained models outside of training: exported, loaded, and applied to images of any kind and number."""

from ndcl.serving.description import FORMATS, Description, Format
from ndcl.serving.exporting import export
from ndcl.serving.model import Model, Predictions

__all__ = ["FORMATS", "Description", "Format", "Model", "Predictions", "export"]
