"""What two versions of a sweep differ in, and whether one continues the other."""

from collections.abc import Container, Mapping
from typing import Any

from harness.config import SweepConfig
from harness.config.dotted_keys import flat
from harness.plan.studies import studies_of


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two resolved sweeps, a line each: `search.num_trials: 8 -> 12`."""
    lists = [(key, value) for values in (old, new) for key, value in flat(values).items() if isinstance(value, list)]
    numbered = {key for key, value in lists if len(value) > 1}
    before, after = _lines(old, numbered), _lines(new, numbered)
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {_text(before, key)} -> {_text(after, key)}" for key in keys if _text(before, key) != _text(after, key)
    ]


def extends(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new resolved sweep has all the old one's studies, unchanged but for more trials or seeds.

    What was run for the old sweep is then valid in the new one. Resources may change.
    """
    try:
        before, after = (
            {study.key: study for study in studies_of(SweepConfig.model_validate(dict(values)))}
            for values in (old, new)
        )
    except ValueError:  # written by an earlier version, with other keys
        return False
    same_name = old["name"] == new["name"]
    return same_name and all(key in after and after[key].continues(study) for key, study in before.items())


def _lines(values: Mapping[str, Any], numbered: Container[str]) -> dict[str, Any]:
    """Dotted keys to values, also through lists of mappings: `imbalance.0.ratio`, of a single one `imbalance.ratio`."""
    result: dict[str, Any] = {}
    for key, value in flat(values).items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            parts = {f"{key}.{position}" if key in numbered else key: item for position, item in enumerate(value)}
            result.update(_lines(parts, numbered))
        else:
            result[key] = value
    return result


def _text(lines: Mapping[str, Any], key: str) -> str:
    return repr(lines[key]) if key in lines else "(absent)"
