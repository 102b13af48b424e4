"""What the domain of a batch's rows is like, as one more channel of the images (ARM, Zhang et al. 2021)."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ndcl.algorithm_configs import Context
from ndcl.compatibility import NO_CHANNELS
from ndcl.errors import UserError
from ndcl.models.backbone import Backbone, Stage
from ndcl.models.network import Network
from ndcl.models.renormalize import Renormalize

MOMENTUM = 0.1
"""Share of the newest batch in the running mean, as BatchNorm has it; of the first ones it is the plain mean."""
_KEY = "0.context.0.weight"


class InContext(Backbone):
    """A backbone that sees images [n, C, H, W] with their domain's context [1, H, W] as the last of C + 1 channels.

    In training a context is the mean, over the rows of one domain in the batch, of what the context network makes of
    each. An image that is to be classified comes alone: its context is the running mean of the source domains'.
    """

    mean: Tensor
    num_batches: Tensor

    def __init__(self, body: Backbone, input_shape: tuple[int, ...], context: Context, num_domains: int = 1) -> None:
        """`body` takes C + 1 channels; `input_shape` is (H, W, C). In training rows come in `num_domains` equal parts,
        one after the other.
        """
        super().__init__()
        (height, breadth, channels), width = input_shape, context.width
        self.body, self.num_features, self.num_domains = body, body.num_features, num_domains
        self.context = nn.Sequential(
            *(nn.Conv2d(channels, width, 5, padding=2), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 5, padding=2), nn.BatchNorm2d(width), nn.ReLU()),
            nn.Conv2d(width, 1, 5, padding=2),
        ).requires_grad_(context.is_trained)
        self.register_buffer("mean", torch.zeros((1, height, breadth), dtype=torch.get_default_dtype()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, C, H, W]."""
        mean = self.mean.to(inputs.dtype)
        contexts = self._contexts(inputs) if self.training else mean.expand(inputs.shape[0], *mean.shape)
        return cast(Tensor, self.body(torch.cat([inputs, contexts.to(inputs.dtype)], dim=1)))

    def _contexts(self, inputs: Tensor) -> Tensor:
        """[n, 1, H, W] of each row."""
        own: Tensor = self.context(inputs)
        of_domain = own.view(self.num_domains, -1, *own.shape[1:]).mean(dim=1)
        with torch.no_grad():
            self.num_batches += 1
            share = (1 / self.num_batches).clamp(min=MOMENTUM)
            self.mean.lerp_(of_domain.mean(dim=0).to(self.mean.dtype), share.to(self.mean.dtype))
        return of_domain.repeat_interleave(len(own) // self.num_domains, dim=0)

    def stages(self) -> list[Stage]:
        """Those of the body; the context network goes with the last."""
        *first, last = self.body.stages()
        return [*first, [*last, self.context]]


def put_in_context(
    network: Network, input_shape: tuple[int, ...], context: Context, *, num_domains: int = 1, seed: int = 0
) -> None:
    """Let `network`, made for images (H, W, C), see the contexts that a new context network gives.

    Its first convolution sees the context as it sees the first colour, until it learns. Raises UserError if it has
    none.
    """
    body = cast(Backbone, network[0])
    if len(input_shape) != 3:
        raise UserError(NO_CHANNELS)
    _widen_first_convolution(body, input_shape[2])
    _require_that_it_takes(body, input_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = InContext(body, input_shape, context, num_domains)
    network[0] = found.to(next(network.parameters()).device).to(memory_format=torch.channels_last)


def put_in_context_of(network: Network, input_shape: tuple[int, ...], state: Mapping[str, Tensor]) -> None:
    """Let an empty `network` have room for the context network of a training's `state` dict, if there is one."""
    if _KEY in state:
        put_in_context(network, input_shape, Context(width=len(state[_KEY])))


def _widen_first_convolution(body: Backbone, channels: int) -> None:
    first = next((module for module in body.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels != channels or first.groups != 1:
        raise UserError(NO_CHANNELS)
    weight, learns = first.weight, first.weight.requires_grad
    first.in_channels += 1
    first.weight = nn.Parameter(torch.cat([weight, weight[:, :1]], dim=1).detach(), requires_grad=learns)
    for module in body.modules():
        if isinstance(module, Renormalize):
            module.add_channel()


@torch.no_grad()
def _require_that_it_takes(body: Backbone, input_shape: tuple[int, ...]) -> None:
    """Of a network with several stems only the first has been widened."""
    height, width, channels = input_shape
    learning = body.training
    like = next(body.parameters())
    try:
        body.eval()(torch.zeros((1, channels + 1, height, width), dtype=like.dtype, device=like.device))
    except RuntimeError:
        raise UserError(NO_CHANNELS) from None
    finally:
        body.train(learning)
