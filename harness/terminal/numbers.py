"""Numbers as people read them: shares, times and sizes."""

from rich import filesize


def percent(fraction: float) -> str:
    """`61.2 %`."""
    return f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(num_bytes: float) -> str:
    """`3.2 GB`, in units of a thousand as disks are sold."""
    return filesize.decimal(round(num_bytes))
