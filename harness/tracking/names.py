"""Names that MLflow takes: of metrics, parameters and tags, and of runs as its pages show them. Pure.

A domain, class or setting may be called anything. MLflow takes few characters and 250 of them, and some of its
databases take `Cat` and `cat`, or `dog` and `dog `, for the same name.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.records import Stage, StudyKey

MAX_KEY_LENGTH, MAX_TEXT_LENGTH, MAX_PARAM_LENGTH = 250, 8000, 6000
"""Set by MLflow: of the name of a metric, parameter or tag; of a tag's value; of a parameter's."""
MAX_PART_LENGTH, MAX_RUN_NAME_LENGTH = 120, 250
HASH_LENGTH = 8


def distinct_parts(names: Iterable[str]) -> dict[str, str]:
    """Names of domains or classes as parts of metrics' names, all different.

    A name that has to be changed has a hash of itself at its end if it has been shortened, or if another of `names`
    looks the same without. The same names come out the same in all trials.
    """
    names = dict.fromkeys(names)
    plain = {name: _plain_part(name) for name in names}
    alike = Counter(map(_folded, plain.values()))
    kept = Counter(_folded(name) for name in names if plain[name] == name)

    def shown(name: str) -> str:
        fold = _folded(plain[name])
        is_alone = alike[fold] == 1 or (plain[name] == name and kept[fold] == 1)
        return _shortened(plain[name] if is_alone else _with_hash(plain[name], name), name, MAX_PART_LENGTH)

    return {name: shown(name) for name in names}


def valid_key(name: str) -> str:
    """The name of a metric, parameter or tag: unchanged, if MLflow takes it."""
    valid = "/".join(_valid_part(part) for part in name.split("/") if part) or "_"
    return _shortened(valid, name, MAX_KEY_LENGTH)


def cut(text: str, length: int = MAX_TEXT_LENGTH) -> str:
    """The text, or its beginning if it is too long."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


class RunNames:
    """What runs are called on MLflow's pages: first that by which they differ, and only that."""

    def __init__(self, studies: Iterable[StudyKey] = ()) -> None:
        """`studies` are the sweep's."""
        studies = list(studies)
        self._has_settings = len({key.setting for key in studies}) > 1
        self._has_datasets = len({key.dataset for key in studies}) > 1

    def of_study(self, key: StudyKey) -> str:
        """`riga · ndcl`; with the setting, the data set, where the sweep has several."""
        parts = [key.target, key.algorithm]
        parts += [key.setting] if self._has_settings else []
        parts += [key.dataset] if self._has_datasets else []
        return _joined(parts)

    def of_trial(self, key: StudyKey, stage: Stage, number: int) -> str:
        """`search-003 · riga · ndcl`: within its study a trial differs by its number."""
        return _joined([f"{stage}-{number:03d}", self.of_study(key)])


def _joined(parts: Sequence[str]) -> str:
    return cut(" · ".join(parts), MAX_RUN_NAME_LENGTH)


def _plain_part(name: str) -> str:
    """MLflow allows letters, digits and `_-.: ` in a part of a name, which is neither empty nor `.` nor `..`."""
    return _valid_part(name.replace("/", "_")).strip() or "_"


def _valid_part(part: str) -> str:
    composed = unicodedata.normalize("NFC", part)
    valid = "".join(c if c.isalnum() or c in "_-.: " else "_" for c in composed)
    return "_" if valid in (".", "..") else valid


def _folded(name: str) -> str:
    """Equal for names that a database may take for the same: those of MySQL know neither case nor accents."""
    letters = unicodedata.normalize("NFKD", name.casefold().strip())
    return "".join(c for c in letters if not unicodedata.combining(c))


def _shortened(text: str, name: str, length: int) -> str:
    return text if len(text) <= length else _with_hash(text[: length - HASH_LENGTH - 1], name)


def _with_hash(text: str, name: str) -> str:
    return f"{text}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:HASH_LENGTH]}"
