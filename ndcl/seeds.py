"""Streams of random numbers: each use in each step has its own seed, so that none needs to be saved."""

import numpy as np

AUGMENTATION, DROPOUT, POLICY = 1, 3, 11
"""Streams of random numbers; the sampler and mixup have their own."""


def stream_seed(seed: int, step: int, stream: int) -> int:
    """A 63-bit seed for one use of random numbers in one step."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0] >> 1)
