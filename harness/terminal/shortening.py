"""Long names in little room: legible, and different where the names are. Pure."""

from collections.abc import Sequence

from rich.cells import cell_len as cells_of

__all__ = ["cells_of", "shortened"]

SEPARATORS = "/."
"""What stands before the last part of a path, or of a study's name, which tells most."""
FEWEST_AT_START = 3


def shortened(names: Sequence[str], widths: Sequence[int], mark: str = "…") -> list[str]:
    """Each name in at most so many cells, with the `mark` where something is left out.

    `ndcl.PACS.total_heavy_tail.art_painting` becomes `ndcl.PACS.t…art_painting`.
    """
    room = dict(zip(names, widths, strict=True))
    long = [name for name, width in room.items() if cells_of(name) > width]
    for way in (_keeping_last_part, _keeping_start, _keeping_both_ends):
        short = {name: name for name in room} | {name: way(name, room[name], mark) for name in long}
        if len(set(short.values())) == len(room):
            return [short[name] for name in names]
    short |= {name: _numbered(name, number, room[name], mark) for number, name in enumerate(long, 1)}
    return [short[name] for name in names]


def _keeping_last_part(name: str, width: int, mark: str) -> str:
    separator = next((separator for separator in SEPARATORS if separator in name), None)
    last = name.rpartition(separator)[2] if separator else ""
    room = width - cells_of(mark) - cells_of(last)
    return (
        f"{_start(name, room)}{mark}{last}" if last and room >= FEWEST_AT_START else _keeping_start(name, width, mark)
    )


def _keeping_start(name: str, width: int, mark: str) -> str:
    return f"{_start(name, width - cells_of(mark))}{mark}"


def _keeping_both_ends(name: str, width: int, mark: str) -> str:
    room = width - cells_of(mark)
    return f"{_start(name, room - room // 2)}{mark}{_start(name[::-1], room // 2)[::-1]}"


def _numbered(name: str, number: int, width: int, mark: str) -> str:
    end = f"{mark}{number}"
    return f"{_start(name, width - cells_of(end))}{end}"


def _start(name: str, width: int) -> str:
    """As much of the start as `width` cells hold."""
    length = 0
    while length < len(name) and cells_of(name[: length + 1]) <= width:
        length += 1
    return name[:length]
