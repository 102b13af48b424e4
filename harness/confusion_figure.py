"""One confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

from harness.report_confusion import Confusion
from harness.report_figure_parts import new_figure, write

MOST_NAMED = 40
"""With more classes their names would not be legible."""


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
    panel.set_xlabel("taken for")
    panel.set_ylabel("class")
    write(figure, title, paths)
