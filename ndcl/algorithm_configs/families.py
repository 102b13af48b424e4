"""Which algorithms work alike, for tables of many: as docs/algorithms.md has them."""

from ndcl.algorithm_configs.table import ALGORITHM_CONFIGS, is_own

FAMILIES = {
    "long_tail": "class imbalance",
    "ndcl": "class imbalance",
    "alignment": "features alike",
    "invariance": "risk alike",
    "gradients": "gradients of domains",
}
"""By the file of this package that has an algorithm's config; of a further file it is its name, in words."""
OWN, OTHERS = "own", "others"
"""Family of the user's own, and of what this version does not know."""


def family_of(name: str) -> str:
    """Family of an algorithm by its name in the table, or `module:Class`; imports nothing of the user's own."""
    if is_own(name):
        return OWN
    if name not in ALGORITHM_CONFIGS:
        return OTHERS
    config = ALGORITHM_CONFIGS[name]
    file = config.__module__.rpartition(".")[2]
    return config.family or FAMILIES.get(file, file.replace("_", " "))
