"""From the rows of all lists to images: each with a path inside the folder, a label and a domain, and each once.

An empty label or domain is none.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ndcl.data.importing.lists.naming import Naming, class_folder, class_naming, domain_naming, domains_without_column
from ndcl.data.importing.lists.rows import Row
from ndcl.errors import UserError

_UNLABELLED = ("", "-1", "-1.0")
_NAMED = 3
"""Images or names that a remark lists before the rest is only counted."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A row, and what is known of its image."""

    row: Row
    path: str
    """Relative to the folder of the images."""
    label: str
    domain: str


def listed_images(rows: Sequence[Row], inside: Callable[[str], str]) -> tuple[list[ListedImage], str]:
    """All rows, and where the domains are from if no list has them.

    `inside` makes a path relative to the folder, or raises UserError. Raises UserError for a path that leads out of the
    folder, and lists that do not tell the class or the domain.
    """
    images = [ListedImage(row, _inside(row, inside), row.label or "", row.domain or "") for row in rows]
    images = _with_labels(images)
    if any(row.domain is not None for row in rows):
        return images, ""
    domains, words = domains_without_column(
        [image.path for image in images], [image.label for image in images], [row.file.domain for row in rows]
    )
    if not domains:
        raise UserError(
            f"{rows[0].place}: neither a column, nor the folders of the paths, nor the list's name gives the domain; "
            "name its column, as with --columns domain=hospital"
        )
    return [replace(image, domain=domain) for image, domain in zip(images, domains, strict=True)], words


def naming_of(images: Sequence[ListedImage], classes: Sequence[str], domains: Sequence[str]) -> tuple[Naming, Naming]:
    """What the classes and the domains are called. Raises UserError for names that do not fit."""
    label_rows, domain_rows = _first_rows(images, "label"), _first_rows(images, "domain")
    folders: dict[str, set[str]] = {label: set() for label in label_rows}
    for image in images:
        if image.label:
            folders[image.label].add(class_folder(image.path))
    label_places = {label: row.place for label, row in label_rows.items()}
    domain_places = {domain: row.place for domain, row in domain_rows.items()}
    for kind, places in (("class", label_places), ("domain", domain_places)):
        if not places:
            raise UserError(f"{images[0].row.place}: no row has a {kind}; name its column with --columns")
    return class_naming(folders, classes, label_places), domain_naming(domains, domain_places)


def _first_rows(images: Iterable[ListedImage], what: Literal["label", "domain"]) -> dict[str, Row]:
    """The first row of each label or domain."""
    rows: dict[str, Row] = {}
    for image in images:
        value = image.label if what == "label" else image.domain
        if value and value not in rows:
            rows[value] = image.row
    return rows


def chosen(images: Iterable[ListedImage], classes: Naming, domains: Naming) -> tuple[list[ListedImage], list[str]]:
    """The images of the classes and domains that are taken, and remarks on the others."""
    taken: list[ListedImage] = []
    others: dict[str, Counter[str]] = {"domains": Counter(), "classes": Counter()}
    for image in images:
        if image.domain and image.domain not in domains.name_of:
            others["domains"][domains.others.get(image.domain, image.domain)] += 1
        elif image.label and image.label not in classes.name_of:
            others["classes"][classes.others.get(image.label, image.label)] += 1
        else:
            taken.append(image)
    return taken, [
        f"rows of other {kind} left out: {counts.total():,} ({_some([name for name, _ in counts.most_common()])})"
        for kind, counts in others.items()
        if counts
    ]


def each_once(images: Iterable[ListedImage], classes: Naming, domains: Naming) -> tuple[list[ListedImage], list[str]]:
    """The images without repeated rows, and remarks. An image that a file gives several classes at once is left out.

    Raises UserError for rows that give one image different classes or domains, naming both.
    """
    first: dict[str, ListedImage] = {}
    several: dict[str, set[str]] = defaultdict(set)
    repeated = 0
    for image in images:
        other = first.setdefault(image.path, image)
        if other is image:
            continue
        theirs, ours = (_names(found, classes, domains) for found in (other, image))
        if theirs == ours:
            repeated += 1
        elif (other.row.file, other.row.number) == (image.row.file, image.row.number):
            several[image.path] |= {theirs[0], ours[0]}
        elif image.path not in several:
            kind, index = ("class", 0) if theirs[0] != ours[0] else ("domain", 1)
            raise UserError(
                f"{other.row.place} and {image.row.place}: {image.path} is of the {kind} '{theirs[index]}' and of "
                f"'{ours[index]}'; mend one of them"
            )
    remarks = []
    if several:
        listed = _some([f"{path} ({', '.join(sorted(names))})" for path, names in several.items()])
        remarks.append(f"images of several classes left out: {len(several):,}: {listed}")
    if repeated:
        remarks.append(f"rows that repeat an image of the same class: {repeated:,}; each image counts once")
    return [image for path, image in first.items() if path not in several], remarks


def _inside(row: Row, inside: Callable[[str], str]) -> str:
    try:
        return inside(row.path)
    except UserError as error:
        raise UserError(f"{row.place}: {error}") from None


def _with_labels(images: list[ListedImage]) -> list[ListedImage]:
    """Where no list has labels, the class is the folder of the image."""
    if any(image.row.label is not None for image in images):
        return [replace(image, label="") if image.label in _UNLABELLED else image for image in images]
    labelled = [replace(image, label=class_folder(image.path)) for image in images]
    for image in labelled:
        if not image.label:
            raise UserError(
                f"{image.row.place}: {image.path} has neither a label nor a folder; name the column of labels, as by "
                "--columns label=2"
            )
    return labelled


def _names(image: ListedImage, classes: Naming, domains: Naming) -> tuple[str, str]:
    """Of class and domain; `none` where there is none."""
    return classes.name_of.get(image.label, "none"), domains.name_of.get(image.domain, "none")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
