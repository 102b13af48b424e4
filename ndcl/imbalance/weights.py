"""Class weights of the re-weighted losses."""

import numpy as np
from numpy.typing import NDArray


def class_weights(counts: NDArray[np.int64] | NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Weights [S, K] proportional to count^-exponent, of mean 1 over the classes that a domain has.

    `counts` [S, K] are training images or frequencies of class k in source domain e. With exponent 1 this is
    W[e, k] = K (1/c_ek) / sum_k' (1/c_ek') (Cao, Liu and Chen, arXiv 2601.21999), with 0 all weights are 1. A class
    that a domain lacks has weight 0 there and counts neither in K nor in the sum.
    """
    present = counts > 0
    powers = np.power(counts, -float(exponent), out=np.zeros(counts.shape), where=present)
    return np.asarray(present.sum(axis=1, keepdims=True) * powers / powers.sum(axis=1, keepdims=True))
