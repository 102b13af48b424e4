"""What the report's matplotlib figures have in common: colours, the canvas, how they are written."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = "osD^vPX*"
"""With the colours (Okabe and Ito 2008), so that colour-blind readers distinguish lines, in print too."""
INK, MUTED, RULE = "#222222", "#666666", "#00000018"
DOTS_PER_INCH = 160


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # never pyplot: no window, no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, fontweight="bold", color=INK)
    return figure


def write(figure: "Figure", title: str, paths: Sequence[Path]) -> None:
    """Write the figure to each of `paths`, in the format that its suffix names."""
    save(figure, paths, dpi=DOTS_PER_INCH, metadata={"Title": title})


def save(figure: "Figure", paths: Sequence[Path], **options: Any) -> None:
    """Write the figure, with names of any kind, to each of `paths`; `options` are of matplotlib's `savefig`.

    Letters that no font of this machine has, as Chinese ones often, are drawn as boxes.
    """
    _without_formulas(figure)
    with warnings.catch_warnings():  # of each such letter, every time
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        for path in paths:
            figure.savefig(path, **options)


def _without_formulas(figure: "Figure") -> None:
    """Take the dollars in names for dollars: matplotlib reads what stands between two as a formula, or fails."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if "$" in text.get_text():  # before anything is drawn, the numbers of log scales are not there yet
            text.set_parse_math(False)


def plain(panel: "Axes", title: str) -> None:
    """A panel without a frame, its title at the left."""
    panel.set_title(title, loc="left", fontsize=10, color=INK)
    panel.tick_params(labelsize=8)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def colour(position: int) -> str:
    """Of the algorithm at this position."""
    return COLOURS[position % len(COLOURS)]


def line_style(position: int) -> str:
    """Dashed where a colour is used a second time."""
    return "-" if position < len(COLOURS) else "--"


def add_legend(figure: "Figure", panel: "Axes", about: str) -> None:
    """One for all panels, below them; `about` says what is drawn."""
    handles, names = panel.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=max(1, min(len(names), 6)), frameon=False, fontsize=8,
        title=about, title_fontsize=8,
    )  # fmt: skip
