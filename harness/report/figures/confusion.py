"""One confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.report.analysis.confusion import Confusion
from harness.report.figures.canvas import INK, new_figure, write

MOST_NAMED = 40
"""With more classes their names would not be legible."""
MOST_COUNTED = 12
"""With more the numbers of images would not be, either."""
DARK = 0.6
"""Shares above it are dark squares, with light numbers."""


def draw_confusion(confusion: Confusion, title: str, paths: Sequence[Path]) -> None:
    """Write the matrix, each row shaded by its shares, to each of `paths`."""
    classes = confusion.classes
    size = 3.5 + 0.16 * min(len(classes), MOST_NAMED)
    figure = new_figure(size, size, title)
    panel = figure.subplots()
    panel.imshow(confusion.shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= MOST_NAMED:
        panel.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
        panel.set_yticks(range(len(classes)), classes, fontsize=7)
    if len(classes) <= MOST_COUNTED:
        for (k, j), share in np.ndenumerate(confusion.shares):
            if confusion.counts[k][j]:
                colour = "white" if share > DARK else INK
                panel.text(j, k, str(confusion.counts[k][j]), ha="center", va="center", fontsize=6.5, color=colour)
    panel.set_xlabel("taken for")
    panel.set_ylabel("class")
    write(figure, title, paths)
