"""Folders as people have them: links are followed, and what systems and tools leave there is passed over."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif", ".jp2"}
)
_LITTER_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found"}
)
"""Of macOS's archives, Synology, Windows and Linux; each may hold small copies of images."""
_LITTER_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


def passed_over_line(number: int) -> str | None:
    """That so many files are no images by their names; None if there are none."""
    files, their = ("1 file was", "its name ends") if number == 1 else (f"{number} files were", "their names end")
    return f"{files} passed over, since {their} in none of {', '.join(sorted(IMAGE_SUFFIXES))}" if number else None


def is_litter(name: str, *, is_folder: bool) -> bool:
    """Whether a system or tool has left something there; so has all that starts with a dot."""
    return name.startswith(".") or name.lower() in (_LITTER_FOLDERS if is_folder else _LITTER_FILES)


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - half a million names


@dataclass(frozen=True, slots=True)
class Level:
    """One folder of a walk, without its litter."""

    path: str
    folders: list[str]
    """Names, sorted; links to folders, too."""
    files: list[str]
    """Names, sorted; links to files and broken links, too."""
    passed: list[str]
    """Names of folders that are litter, or lead back to a folder that they lie in."""


def walk(root: Path, on_error: Callable[[OSError], None]) -> Iterator[Level]:
    """A folder and all below it, each before what lies in it. `root` itself may have any name."""
    above: dict[str, tuple[os.stat_result, ...]] = {}
    for path, folders, files in os.walk(root, followlinks=True, onerror=on_error):
        chain = (*above.pop(path, ()), Path(path).stat())
        passed = sorted(
            name for name in folders if is_litter(name, is_folder=True) or _leads_back(f"{path}/{name}", chain)
        )
        folders[:] = sorted(set(folders) - set(passed))  # os.walk descends into these
        above |= {os.path.join(path, name): chain for name in folders}  # noqa: PTH118 - as os.walk joins them
        yield Level(path, list(folders), sorted(name for name in files if not is_litter(name, is_folder=False)), passed)


def _leads_back(path: str, chain: tuple[os.stat_result, ...]) -> bool:
    try:
        status = Path(path).stat()
    except OSError:  # os.walk will report it
        return False
    return any(os.path.samestat(status, folder) for folder in chain)


@dataclass(eq=False)
class Folder:
    """A folder with all that lies in it, as `walk` finds it."""

    path: Path
    folders: list["Folder"] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.name

    @cached_property
    def has_images(self) -> bool:
        """Whether images stand directly in it."""
        return any(map(is_image_name, self.files))

    def below(self) -> Iterator["Folder"]:
        """This folder and all folders below it."""
        yield self
        for folder in self.folders:
            yield from folder.below()


def read_tree(root: Path, on_error: Callable[[OSError], None]) -> Folder:
    """All that lies in `root`, read in one walk."""
    tree = Folder(root)
    found = {str(root): tree}
    for level in walk(root, on_error):
        folder = found.pop(level.path)
        folder.files, folder.passed = level.files, level.passed
        for name in level.folders:
            child = Folder(folder.path / name)
            folder.folders.append(child)
            found[os.path.join(level.path, name)] = child  # noqa: PTH118
    return tree
