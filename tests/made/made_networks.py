"""Small networks for any algorithm: of vectors, or where it sees contexts of images."""

from torch import Tensor

from ndcl.algorithm_configs import AlgorithmConfig
from ndcl.config import ModelConfig
from ndcl.models import Network, build_network, put_in_context

SIZE = 8
"""Height and width of the images."""


def made_network(algorithm: AlgorithmConfig, num_inputs: int, width: int, num_classes: int, domains: int) -> Network:
    """Of vectors [n, num_inputs], or of what `made_inputs` makes of them; initialised from seed 0."""
    if algorithm.context is None:
        model = ModelConfig(backbone="mlp", mlp_width=width, mlp_depth=3)
        return build_network(model, (num_inputs,), num_classes, seed=0)
    shape = (SIZE, SIZE, 3)
    network = build_network(ModelConfig(), shape, num_classes, seed=0)
    put_in_context(network, shape, algorithm.context, num_domains=domains)
    return network


def made_inputs(algorithm: AlgorithmConfig, vectors: Tensor) -> Tensor:
    """The vectors [n, F], F a divisor of SIZE, or images [n, 3, SIZE, SIZE] with one in each row."""
    if algorithm.context is None:
        return vectors
    return vectors.repeat(1, 3 * SIZE * SIZE // vectors.shape[1]).view(len(vectors), 3, SIZE, SIZE)
