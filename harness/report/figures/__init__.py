"""Figures of a comparison for papers, by matplotlib. `files.py` writes them all."""
