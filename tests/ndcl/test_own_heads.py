"""Which algorithms put a head of their own in place of the network's, as their configs say."""

from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.algorithms.build import algorithm_class


def test_a_config_says_that_its_algorithm_makes_a_head() -> None:
    """cRT's new head is begun within the training; the others' are part of the algorithm."""
    making = {name for name, config in ALGORITHM_CONFIGS.items() if algorithm_class(config).has_own_head}
    assert {name for name, config in ALGORITHM_CONFIGS.items() if config.makes_head} == {*making, "crt"}
