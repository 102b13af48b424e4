"""The count tables that the authors released, read from the package (ndcl/protocols/<data set>/<setting>.json)."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.errors import UserError

SETTING_NAMES = ("total_heavy_tail", "cross", "duality", "idg")
DATASET_NAMES = ("pacs", "vlcs", "officehome", "domainnet")

_ALSO_CALLED = {"caltech101": "caltech", "sun09": "sun", "voc2007": "pascalvoc"}
"""Folder names of VLCS in other collections, to the table's."""


@dataclass(frozen=True, kw_only=True)
class ReleasedTable:
    """One target's part of a table, in the data set's own order of source domains and classes."""

    counts: NDArray[np.int64]
    """[S, K] training images."""
    validation: int
    many_above: float
    few_below: float


def released_table(
    setting: str, dataset: str, domains: Sequence[str], classes: Sequence[str], target: str
) -> ReleasedTable:
    """The table `setting` of `dataset` for one target. Names match whatever their case, hyphens and underscores.

    Raises UserError if the authors released no such table, or a domain or class of it is missing in the data set or
    the other way round.
    """
    table = _read(setting, dataset)
    where = f"imbalance.setting: released/{setting} of {table['dataset']}"
    code_of = {name: code for code, name in table["domains"].items()}
    aliases = {_plain(code): name for name, code in code_of.items()}
    domain_of = _match(where, "domain", domains, list(code_of), aliases)
    class_of = _match(where, "class", classes, table["classes"], {})
    code = code_of[domain_of[target]]
    rows = table["counts"][code]
    sources = [code_of[domain_of[domain]] for domain in domains if domain != target]
    counts = [[rows[source][class_of[name]] for name in classes] for source in sources]
    thresholds = table["thresholds"][code]
    return ReleasedTable(
        counts=np.array(counts, np.int64),
        validation=table["validation"][code],
        many_above=thresholds["many"],
        few_below=thresholds["few"],
    )


def _plain(name: str) -> str:
    plain = name.lower()
    for character in "_- ":
        plain = plain.replace(character, "")
    return _ALSO_CALLED.get(plain, plain)


def _table_name(dataset: str) -> str:
    """The released data set that a name stands for, also with words after it: `pacs_resnet50` is PACS in features."""
    words = re.split(r"[-_. ]+", dataset)
    leading = [_plain("".join(words[:end])) for end in range(len(words), 0, -1)]
    return next((name for name in leading if name in DATASET_NAMES), _plain(dataset))


def _match(where: str, kind: str, own: Sequence[str], names: Sequence[str], aliases: dict[str, str]) -> dict[str, str]:
    """The table's name of each of the data set's own; both sides must have the same ones."""
    known = {**aliases, **{_plain(name): name for name in names}}
    for name in own:
        if _plain(name) not in known:
            raise UserError(
                f"{where} has no {kind} '{name}', only: {_listed(names)}; rename it in the data set, or leave it out"
            )
    matched = {name: known[_plain(name)] for name in own}
    missing = [name for name in names if name not in matched.values()]
    if missing:
        raise UserError(
            f"{where} has {len(names)} {kind} names; the data set lacks: {_listed(missing)}; import it whole"
        )
    return matched


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@cache
def _read(setting: str, dataset: str) -> dict[str, Any]:
    name = _table_name(dataset)
    folder = files("ndcl") / "protocols" / name
    if name not in DATASET_NAMES:
        raise UserError(
            f"imbalance.setting: no table was released for the data set '{dataset}', only for "
            f"{', '.join(DATASET_NAMES)}; use long_tail or a generator, or a name that starts with theirs, such as "
            "pacs_features"
        )
    path = folder / f"{setting}.json"
    if not path.is_file():
        valid = [name for name in SETTING_NAMES if (folder / f"{name}.json").is_file()]
        raise UserError(
            f"imbalance.setting: no table '{setting}' was released for {dataset}; "
            f"valid: {', '.join(f'released/{name}' for name in valid)}"
        )
    table: dict[str, Any] = json.loads(path.read_text())
    return table
