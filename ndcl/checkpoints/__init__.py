"""Checkpoints of trainings: what is in them, and where they lie."""

from ndcl.checkpoint_files import is_checkpoint
from ndcl.checkpoints.content import Content, Parts, read, write
from ndcl.checkpoints.places import checkpoint_folder

__all__ = ["Content", "Parts", "checkpoint_folder", "is_checkpoint", "read", "write"]
