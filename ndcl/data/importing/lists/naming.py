"""What the domains and classes of a list are called, and which of them are taken."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ndcl.data.importing.source import SPLITS
from ndcl.errors import UserError

_NUMBERED = re.compile(r"(\d+)=(.+)")
"""A name with its number, as 1=dog."""
_NUMBER = re.compile(r"-?\d+(\.0*)?")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Names in the order of their indices, and the name of each value of the list that is taken or left out."""

    names: tuple[str, ...]
    name_of: Mapping[str, str]
    """By a value of the list; what is not in it is left out."""
    others: Mapping[str, str] = field(default_factory=dict)
    """The names of values that are left out."""
    words: str
    """Where the names are from; empty if they stand in the list."""


def number(value: str) -> int | None:
    """The whole number that a text is, also as 3.0; None if it is none."""
    return int(float(value)) if _NUMBER.fullmatch(value) else None


def class_naming(folders: Mapping[str, set[str]], given: Sequence[str], where: Mapping[str, str]) -> Naming:
    """Of labels. `folders` holds, for each label, the folders that its images lie in; `where` a place of it in a list.

    Labels that are text are the names. Numbers are named by the folders, if each has its own; else by `given`, from 0
    or from 1; else they are their own names. Raises UserError if `given` does not fit.
    """
    numbers = {value: number(value) for value in folders}
    if any(found is None for found in numbers.values()):
        return _chosen("class", {value: value for value in folders}, given, "")
    names = _folder_names(folders)
    if names and (not given or set(given) <= set(names.values())):
        return _chosen("class", names, given, "numbers, named by the folders of their images")
    return _numbered("class", {value: found for value, found in numbers.items() if found is not None}, given, where)


def domain_naming(given: Sequence[str], where: Mapping[str, str]) -> Naming:
    """Of domains, of which `where` holds a place in a list, as `class_naming` does it for labels.

    A name such as location_38 may be given as 38.
    """
    numbers = {value: number(value) for value in where}
    if all(found is not None for found in numbers.values()):
        return _numbered("domain", {v: n for v, n in numbers.items() if n is not None}, given, where)
    short = {value.rpartition("_")[2]: value for value in where}
    asked = [short.get(name, name) if name not in where else name for name in given]
    return _chosen("domain", {value: value for value in where}, asked, "")


def domains_without_column(paths: Sequence[str], labels: Sequence[str], files: Sequence[str]) -> tuple[list[str], str]:
    """The domain of each row from its path or its list's name, and which of the two in words.

    The first folder in which the paths differ, if it is above the class's folder and does not tell the class; else the
    list's name. Empty if neither tells it.
    """
    folders = _differing_folders(paths)
    tells_class = _is_one_to_one(folders, labels) and not _is_one_to_one([class_folder(path) for path in paths], labels)
    if folders and not tells_class:
        return folders, "from the folders of the paths"
    return (list(files), "from the names of the lists") if all(files) else ([], "")


def class_folder(path: str) -> str:
    """The last folder of a path; empty if it has none."""
    return path.rpartition("/")[0].rpartition("/")[2]


def _differing_folders(paths: Sequence[str]) -> list[str]:
    """Of each path the first folder that is not the same for all, splits and the last folder left aside."""
    parts = [_without_splits(path.split("/")[:-2]) for path in paths]
    shared = 0
    while all(len(found) > shared for found in parts):
        if len({found[shared] for found in parts}) > 1:
            return [found[shared] for found in parts]
        shared += 1
    return []


def _without_splits(parts: Sequence[str]) -> list[str]:
    return [part for part in parts if part.lower() not in SPLITS]


def _is_one_to_one(folders: Sequence[str], labels: Sequence[str]) -> bool:
    pairs = set(zip(folders, labels, strict=False))
    return len(pairs) == len(set(folders)) == len(set(labels))


def _folder_names(folders: Mapping[str, set[str]]) -> dict[str, str]:
    """The folder of each label, if no two share one; else empty."""
    single = {value: next(iter(found)) for value, found in folders.items() if len(found) == 1}
    if len(single) < len(folders) or len(set(single.values())) < len(single) or "" in single.values():
        return {}
    return single


def _chosen(kind: str, name_of: Mapping[str, str], given: Sequence[str], words: str) -> Naming:
    """All names, or those given."""
    known = set(name_of.values())
    for name in given:
        if name not in known:
            raise UserError(f"--{_option(kind)}: no {kind} '{name}' in the list, which has {_some(sorted(known))}")
    names = tuple(sorted(set(given) or known))
    taken = {value: name for value, name in name_of.items() if name in names}
    others = {value: name for value, name in name_of.items() if name not in names}
    return Naming(names=names, name_of=taken, words=words, others=others)


def _numbered(kind: str, numbers: Mapping[str, int], given: Sequence[str], where: Mapping[str, str]) -> Naming:
    """Numbers are named by `given`, or chosen by it if it holds numbers too."""
    own = {value: str(found) for value, found in numbers.items()}
    if not given or all(number(name) is not None for name in given):
        naming = _chosen(kind, own, given, "the numbers of the list")
        return replace(naming, names=tuple(sorted(naming.names, key=int)))
    explicit = [_NUMBERED.fullmatch(name) for name in given]
    if all(explicit):
        return _explicit(kind, own, {match[1]: match[2] for match in explicit if match})
    first = _first_number(kind, numbers, given, where)
    name_of = {value: given[found - first] for value, found in numbers.items()}
    return Naming(names=tuple(given), name_of=name_of, words=f"numbers from {first}, named by --{_option(kind)}")


def _explicit(kind: str, own: Mapping[str, str], names: Mapping[str, str]) -> Naming:
    """The numbers that `names` has, in their order."""
    for found in names:
        if str(int(found)) not in own.values():
            raise UserError(f"--{_option(kind)}: no {kind} number {found} in the list, which has {_some(sorted(own))}")
    ordered = sorted(names, key=int)
    name_of = {value: names[found] for value, text in own.items() for found in ordered if int(found) == int(text)}
    words = f"numbers, named by --{_option(kind)}"
    return Naming(names=tuple(names[found] for found in ordered), name_of=name_of, words=words)


def _first_number(kind: str, numbers: Mapping[str, int], given: Sequence[str], where: Mapping[str, str]) -> int:
    """0 or 1: which number the first name is for."""
    low, high = min(numbers.values()), max(numbers.values())
    if low == 0 and high < len(given):
        return 0
    if low >= 1 and high == len(given):
        return 1
    if low >= 1 and high < len(given):
        raise UserError(
            f"--{_option(kind)}: the list has {kind} numbers from {low} to {high}, and {len(given)} names were given, "
            f"so that '{given[0]}' could be 0 or 1; say which number each is for, as 1={given[0]}"
        )
    worst = max(numbers, key=lambda value: abs(numbers[value]))
    raise UserError(
        f"{where[worst]}: {kind} number {numbers[worst]}, and --{_option(kind)} gives {len(given)} names; give one for "
        f"each number from {0 if low <= 0 else 1}"
    )


def _option(kind: str) -> str:
    return "classes" if kind == "class" else "domains"


def _some(names: Sequence[str]) -> str:
    more = len(names) - 4 * _SHOWN
    return ", ".join(names[: 4 * _SHOWN]) + (f" and {more} more" if more > 0 else "")
