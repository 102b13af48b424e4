"""Which folders are the domains and which the classes, in a tree of images as people have it.

What is meant is seen where it is plain: splits above or below the domains, one folder around all domains, and one
folder such as `images` between a domain and its classes. What is ambiguous is refused.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from ndcl.data.importing.names import clean_name, shown
from ndcl.data.importing.source import SPLITS
from ndcl.data.importing.walk import Folder, is_image_name
from ndcl.errors import UserError

EXPECTED = "images are expected as DOMAIN/CLASS/IMAGE"
_COLLECTIONS = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "data", "jpegimages"})
"""Names of folders that say what is in them, and not which domain it is."""
_DOCUMENTS = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ".log", ".mat", ".h5"}
    | {".hdf5", ".npy", ".npz", ".pkl", ".py", ".sh", ".zip", ".tar", ".gz", ".parquet"}
)
_MAX_NAMED = 5
"""Folders that a remark lists before the rest is only counted."""


@dataclass(frozen=True)
class Cell:
    """A folder with images of one domain and class."""

    domain: str
    class_name: str
    split: str
    """Of the source's own splits, if it has any."""
    folder: Folder


@dataclass(frozen=True)
class Layout:
    """All cells of a tree, in order, and what was seen that is not DOMAIN/CLASS/IMAGE."""

    cells: tuple[Cell, ...]
    remarks: tuple[str, ...]


def find_layout(tree: Folder) -> Layout:
    """The domains and classes of a tree. Raises UserError, in one line, if they are ambiguous."""
    root = _root_of_domains(tree)
    top = _folders(root, "domains")
    if _are_splits(top):
        domains = [(split.name, domain) for split in top for domain in _folders(split, "domains")]
    else:
        domains = [("", domain) for domain in top]
    insides = _insides([domain for _, domain in domains])
    cells = []
    for (split, domain), inside in zip(domains, insides, strict=True):
        second = _folders(inside, "classes")
        if _are_splits(second):
            cells += [_cell(domain, name, part.name) for part in second for name in _folders(part, "classes")]
        else:
            cells += [_cell(domain, name, split) for name in second]
    _require_plain(tree, cells)
    return Layout(
        cells=tuple(sorted(cells, key=lambda cell: (cell.domain, cell.class_name, cell.split, cell.folder.path))),
        remarks=tuple(_remarks(tree, root, [domain for _, domain in domains], insides)),
    )


def _cell(domain: Folder, class_folder: Folder, split: str) -> Cell:
    return Cell(clean_name(domain.name), clean_name(class_folder.name), split, class_folder)


def _root_of_domains(tree: Folder) -> Folder:
    """The folder of the domains: `tree`, or the one in it in which all lies."""
    way = [tree]
    while len(inner := _filled(way[-1])) == 1 and not (way[-1].has_images or _is_split(inner[0]) or _is_flat(inner[0])):
        way.append(inner[0])
    if len(way) == 1 or _holds_domains(way[-1]):
        return way[-1]
    # All images are of one domain: the innermost folder that has its own name.
    own = next((n for n in range(len(way) - 1, 1, -1) if not _is_collection(way[n])), 1)
    return way[own - 1]


def _holds_domains(folder: Folder) -> bool:
    """Whether what lies in a folder are domains, and not classes that hold folders: domains share class names."""
    inner = _filled(folder)
    if _are_splits(inner):
        inner = [domain for split in inner for domain in _filled(split)]
    if any(map(_is_flat, inner)):
        return False
    parts = [part for domain in inner for part in _filled(domain)]
    is_shared = max(Counter(clean_name(part.name) for part in parts).values()) > 1
    return is_shared and not all(_is_flat(part) and (_is_split(part) or _is_collection(part)) for part in parts)


def _insides(domains: Sequence[Folder]) -> list[Folder]:
    """The folder in which each domain's classes lie: the domain itself, or the only one in it, such as `images`."""
    inner = [_filled(domain) for domain in domains]
    between = [
        len(found) == 1 and not domain.has_images and not _is_flat(found[0]) and not _is_split(found[0])
        for domain, found in zip(domains, inner, strict=True)
    ]
    insides = [
        found[0] if is_between else domain for domain, found, is_between in zip(domains, inner, between, strict=True)
    ]
    if all(between):
        return insides
    # A domain of a single class, whose images lie in further folders, looks alike: its class has a known name.
    others = {
        clean_name(name.name)
        for found, is_between in zip(inner, between, strict=True)
        if not is_between
        for name in found
    }
    return [
        inside if {clean_name(name.name) for name in _filled(inside)} & others else domain
        for domain, inside in zip(domains, insides, strict=True)
    ]


def _folders(folder: Folder, what: str) -> list[Folder]:
    """The folders in it that hold something. Raises UserError if there are none, or images stand beside them."""
    if folder.has_images:
        raise UserError(_misplaced(folder, what))
    broken = [name for name in folder.files if (folder.path / name).is_symlink() and not (folder.path / name).exists()]
    if broken:
        raise UserError(f"{shown(folder.path / broken[0])} is a broken link; mend or remove it")
    if not folder.folders:
        raise UserError(f"{shown(folder.path)} holds no folders of {what}; {EXPECTED}")
    found = _filled(folder)
    if not found:
        raise UserError(f"{shown(folder.path)} holds no images in its class folders; {EXPECTED}")
    return found


def _misplaced(folder: Folder, what: str) -> str:
    image = folder.path / next(filter(is_image_name, folder.files))
    if what == "domains":
        advice = (
            f"to classify images without a class: ndcl predict MODEL {quote(shown(folder.path))}; if a list tells the "
            "classes, give it by --list"
        )
    else:
        above = shown(Path(folder.path.absolute().parent.name))
        advice = f"if '{above}' is a domain, give the folder that holds it"
    return f"{shown(image)} stands where folders of {what} should be; {EXPECTED}; {advice}"


def _require_plain(tree: Folder, cells: Sequence[Cell]) -> None:
    """Raise UserError for layouts that were surely meant otherwise."""
    domains, classes = {cell.domain for cell in cells}, {cell.class_name for cell in cells}
    for what, names in (("domains", domains), ("classes", classes)):
        splits = sorted(name for name in names if name.lower() in SPLITS)
        if len(splits) > 1:
            others = sorted(names - set(splits))
            raise UserError(
                f"{shown(tree.path)}: {' and '.join(splits[:2])} look like splits and stand where {what} should be"
                + (f", beside {others[0]}" if others else "")
                + f"; join them, or leave only splits there; {EXPECTED}"
            )
    if len(classes) == 1:
        name = next(iter(classes))
        raise UserError(
            f"{shown(tree.path)}: all images are of one class, '{name}' ({shown(cells[0].folder.path)}); {EXPECTED}, "
            "with two classes at least"
        )
    counts = Counter(name for _, name in {(cell.domain, cell.class_name) for cell in cells})
    if len(domains) > 1 and max(counts.values()) == 1 and not any(_is_flat(cell.folder) for cell in cells):
        first = cells[0].folder.path.parent
        raise UserError(
            f"{shown(tree.path)}: no class is in two domains, and images lie one folder deeper; give a folder whose "
            f"own folders are the domains, such as {shown(first)}"
        )


def _remarks(tree: Folder, root: Folder, domains: Sequence[Folder], insides: Sequence[Folder]) -> Iterable[str]:
    if root is not tree:
        yield f"the domains were found in {shown(root.path)}"
    between = [inside for domain, inside in zip(domains, insides, strict=True) if inside is not domain]
    if between:
        name = between[0].name if len({inside.name for inside in between}) == 1 else "FOLDER"
        yield f"read as DOMAIN/{name}/CLASS/IMAGE"
    parents = {id(folder): folder for folder in (tree, root, *domains, *insides)}
    hollow = [shown(inner.path) for folder in parents.values() for inner in folder.folders if _is_hollow(inner)]
    if hollow:
        more = f" and {len(hollow) - _MAX_NAMED} more" if len(hollow) > _MAX_NAMED else ""
        yield f"passed over, no images in it: {', '.join(hollow[:_MAX_NAMED])}{more}"
    litter = Counter(name for folder in tree.below() for name in folder.passed)
    if litter:
        names = (name if count == 1 else f"{name} ({count} times)" for name, count in sorted(litter.items()))
        yield f"passed over: {', '.join(names)}"


def _filled(folder: Folder) -> list[Folder]:
    return [inner for inner in folder.folders if not _is_hollow(inner)]


def _is_hollow(folder: Folder) -> bool:
    """Whether there is nothing in it that could be an image."""
    return all(Path(name).suffix.lower() in _DOCUMENTS for inner in folder.below() for name in inner.files)


def _is_flat(folder: Folder) -> bool:
    """Whether images stand directly in it, or there is nothing below them."""
    return folder.has_images or not _filled(folder)


def _is_split(folder: Folder) -> bool:
    return folder.name.lower() in SPLITS


def _is_collection(folder: Folder) -> bool:
    return folder.name.lower() in _COLLECTIONS


def _are_splits(folders: Sequence[Folder]) -> bool:
    return all(map(_is_split, folders))
