"""Batches of training images: drawn, decoded, augmented ahead of the training. Start at `loader.py`."""
