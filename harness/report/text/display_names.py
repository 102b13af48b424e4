"""Names of algorithms as a paper has them: `Balanced softmax` for `balanced_softmax`."""

from collections import Counter
from collections.abc import Mapping

from ndcl.algorithm_configs import ALGORITHM_CONFIGS, is_own


def display_names(methods: Mapping[str, str]) -> dict[str, str]:
    """By the name of each row, what it is called; `methods` has the algorithm that each trains.

    An algorithm has its title, one of the user's own the name of its class, and a variant the name that its sweep gives
    it. Rows whose names would then be equal keep their own.
    """
    shown = {name: _shown(name, method) for name, method in methods.items()}
    counts = Counter(shown.values())
    return {name: title if counts[title] == 1 else name for name, title in shown.items()}


def _shown(name: str, method: str) -> str:
    if name == method and name in ALGORITHM_CONFIGS:
        return ALGORITHM_CONFIGS[name].title
    return name.rpartition(":")[2] if is_own(name) else name


def setting_title(setting: str, imbalance: Mapping[str, object]) -> str:
    """`long tail, ratio 65` for a setting that is named after itself and its ratio; else its own name."""
    kind, _, ratio = setting.rpartition("-")
    return f"{kind.replace('_', ' ')}, ratio {ratio}" if kind and kind == imbalance.get("setting") else setting
