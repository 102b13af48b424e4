"""Confusion matrices in the HTML report: shaded by shares, with names on both sides and counts where there is room."""

from collections.abc import Sequence
from html import escape

import numpy as np

from harness.report.analysis.confusion import Confusion
from harness.report.analysis.details import Details, StudyDetails
from harness.report.analysis.setting_table import SettingTable
from harness.report.html.parts import Names, breakable, folded, paragraph, tabs

NUM_SHADES = 16
DARK = 0.6
"""Shares above it are dark squares, with light numbers."""
NAMED_CLASSES, NAME_WIDTH = 12, 12
"""Up to so many classes have their names, of so many letters, and their counts."""
SHORT, LETTER = 2, 0.36
"""Names of so few letters stand upright above their columns; about the width of a letter, in squares."""


def confusions(names: Names, tables: Sequence[SettingTable], details: Details) -> str:
    """The confusion matrix of each algorithm on each target domain, a tab for each setting."""
    panels = {}
    for shown in tables:
        studies = [s for s in details.of(shown.dataset, shown.setting) if s.confusion]
        found = sorted(studies, key=lambda study: shown.algorithms.index(study.key.algorithm))
        if found:
            panels[f"{shown.dataset}, {shown.setting}"] = classes_in_order(_names(found)) + "".join(
                f'<h3>{escape(target)} unseen</h3><div class="matrices">'
                + "".join(
                    _matrix(s.key.algorithm, s.confusion) for s in found if s.key.target == target and s.confusion
                )
                + "</div>"
                for target in shown.targets
                if any(s.key.target == target for s in found)
            )
    return tabs(names, "setting", panels) if panels else ""


def classes_in_order(names: Sequence[str]) -> str:
    """The names of so many classes that they don't stand beside a picture, if they have names."""
    if len(names) <= NAMED_CLASSES or all(name == str(number) for number, name in enumerate(names)):
        return ""
    return folded(f"The {len(names)} classes in order", paragraph(", ".join(names)))


def _names(studies: Sequence[StudyDetails]) -> tuple[str, ...]:
    return next(study.confusion.classes for study in studies if study.confusion)


def _matrix(algorithm: str, confusion: Confusion) -> str:
    mistake, words = confusion.largest_mistake, "no mistake"
    if mistake is not None:
        true, taken_for, share = mistake
        words = f"{true} taken for {taken_for}: {100 * share:.0f}\N{NO-BREAK SPACE}%"
    size = len(confusion.counts)
    named, left, top = _axis_names(confusion.classes)
    spoken = escape(f"{algorithm}: {size} by {size} classes; most often {words}")
    return (
        f'<figure><svg class="matrix" viewBox="{-left:.1f} {-top:.1f} {size + left:.1f} {size + top:.1f}" role="img" '
        f'aria-label="{spoken}">{named}<g shape-rendering="crispEdges">{_shades(confusion)}'
        f'<rect class="edge" width="{size}" height="{size}"/></g>{_counts(confusion)}</svg>'
        f"<figcaption><b>{breakable(algorithm)}</b><br>{breakable(words)}</figcaption></figure>"
    )


def _axis_names(classes: Sequence[str]) -> tuple[str, float, float]:
    """The names left of the rows and above the columns, and the room of either, in squares; none of many classes."""
    if len(classes) > NAMED_CLASSES:
        return "", 0.0, 0.0
    shown = [name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…" for name in classes]
    longest = max(map(len, shown))
    rows = [
        f'<text x="-0.2" y="{k + 0.72:.2f}" text-anchor="end">{escape(name)}</text>' for k, name in enumerate(shown)
    ]
    if longest <= SHORT:
        columns = [
            f'<text x="{j + 0.5}" y="-0.25" text-anchor="middle">{escape(name)}</text>' for j, name in enumerate(shown)
        ]
        return "".join(rows + columns), 0.4 + LETTER * longest, 0.9
    columns = [
        f'<text x="{j + 0.72:.2f}" y="-0.2" transform="rotate(-90 {j + 0.72:.2f} -0.2)">{escape(name)}</text>'
        for j, name in enumerate(shown)
    ]
    room = 0.4 + LETTER * longest
    return "".join(rows + columns), room, room


def _counts(confusion: Confusion) -> str:
    """The number of images in each square that has any; of many classes they would not be legible."""
    if len(confusion.classes) > NAMED_CLASSES:
        return ""
    shares = confusion.shares
    return "".join(
        f'<text class="count{" dark" if shares[k, j] > DARK else ""}" x="{j + 0.5}" y="{k + 0.64:.2f}" '
        f'text-anchor="middle">{count}</text>'
        for k, row in enumerate(confusion.counts)
        for j, count in enumerate(row)
        if count
    )


def _shades(confusion: Confusion) -> str:
    """The squares of each shade in one path, so that a hundred classes stay small."""
    levels = np.rint(confusion.shares * NUM_SHADES).astype(int)
    diagonal = np.eye(len(levels), dtype=bool)
    paths = []
    for kind, where in (("right", diagonal), ("wrong", ~diagonal)):
        for level in range(1, NUM_SHADES + 1):
            squares = "".join(f"M{j} {k}h1v1h-1z" for k, j in np.argwhere((levels == level) & where))
            if squares:
                paths.append(f'<path class="{kind}" fill-opacity="{level / NUM_SHADES:.3g}" d="{squares}"/>')
    return "".join(paths)
