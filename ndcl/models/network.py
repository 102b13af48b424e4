"""A network is a backbone followed by a linear head; what of it is frozen, and BatchNorm in two forwards.

Two forwards happen in an NDCL step, the second on mixed rows. BatchNorm that is not frozen uses its running statistics
in the second one and leaves them as they are, so that mixed rows never shift what the network knows of real images.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.models.adapting import let_learn
from ndcl.models.backbone import Backbone, Stage

HEAD = ("1.weight", "1.bias")
"""Names of the head's weight [K, P] and bias [K] in a network's state dict."""


class Network(nn.Sequential):
    """Features, then a linear head: [n, ...] -> logits [n, K]."""

    def __init__(self, backbone: Backbone, num_classes: int, config: ModelConfig) -> None:
        super().__init__(backbone, nn.Linear(backbone.num_features, num_classes))
        self.batchnorms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        # Dropout and torchvision's StochasticDepth alike have a rate p, timm's DropPath a drop_prob.
        self.has_dropout = any(getattr(m, "p", getattr(m, "drop_prob", 0.0)) > 0 for m in self.modules())
        self._keeps_batchnorm = config.keeps_batchnorm
        self._frozen: list[nn.Module] = []
        self._gives: Literal["logits", "both", "head"] = "logits"
        let_learn(backbone, config)
        if config.train == "head":
            self._frozen.append(backbone)
        if config.freeze_stages:
            self._freeze(backbone.stages()[: config.freeze_stages])

    def forward(self, input: Tensor) -> Tensor:
        """Logits [n, K] of inputs; within `giving("both")` logits and features side by side [n, K + P], within
        `giving("head")` logits of features [n, P].

        All go through here, and so through what watches a forward, such as the gathering of sharded parameters.
        """
        if self._gives == "head":
            return cast(Tensor, self[1](input))
        features = self[0](input)
        logits = cast(Tensor, self[1](features))
        return torch.cat([logits, features.to(logits.dtype)], dim=1) if self._gives == "both" else logits

    @property
    def num_features(self) -> int:
        """P: what the head sees of a row."""
        return cast(nn.Linear, self[1]).in_features

    @property
    def num_outputs(self) -> int:
        """Columns of what `forward` gives now."""
        head = cast(nn.Linear, self[1])
        return head.out_features + head.in_features * (self._gives == "both")

    @contextmanager
    def giving(self, what: Literal["logits", "both", "head"]) -> Iterator[None]:
        """What `forward` gives meanwhile."""
        self._gives = what
        try:
            yield
        finally:
            self._gives = "logits"

    def features(self, inputs: Tensor) -> Tensor:
        """What the head sees [n, P]."""
        return cast(Tensor, self[0](inputs))

    def head(self, features: Tensor) -> Tensor:
        """Logits [n, K] of features [n, P]."""
        with self.giving("head"):
            return cast(Tensor, self(features))

    def head_weights(self) -> tuple[Tensor, Tensor]:
        """Weight [K, P] and bias [K] of the head as they are now, whole, without a gradient.

        Where each of several workers keeps a part, all must ask together.
        """
        head = cast(nn.Linear, self[1])
        parts = (head.weight.detach(), head.bias.detach())
        weight, bias = (part.full_tensor() if hasattr(part, "full_tensor") else part for part in parts)
        return cast(Tensor, weight), cast(Tensor, bias)

    def keep_batchnorm(self, keeps: bool) -> None:
        """Keep BatchNorm in evaluation mode from now on, or let it follow the batches."""
        self._keeps_batchnorm = keeps
        self.train(self.training)

    def stages(self) -> list[list[nn.Parameter]]:
        """Parameters of the backbone's stages from the input on, then those of the head: each one once."""
        backbone = cast(Backbone, self[0])
        return [*(parameters_of(stage) for stage in backbone.stages()), list(self[1].parameters())]

    def train(self, mode: bool = True) -> "Network":
        """As `nn.Module.train`, but frozen BatchNorm and frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in [*(self.batchnorms if self._keeps_batchnorm else []), *self._frozen]:
            module.eval()
        return self

    def forward_mixed(self, inputs: Tensor) -> Tensor:
        """Logits of generated rows, with BatchNorm's running statistics used and left unchanged."""
        with self._running_statistics():
            return cast(Tensor, self(inputs))

    def _freeze(self, stages: list[Stage]) -> None:
        for stage in stages:
            self._frozen += [member for member in stage if isinstance(member, nn.Module)]
            for parameter in parameters_of(stage):
                parameter.requires_grad_(False)

    @contextmanager
    def _running_statistics(self) -> Iterator[None]:
        training = [layer for layer in self.batchnorms if layer.training]
        for layer in training:
            layer.eval()
        try:
            yield
        finally:
            for layer in training:
                layer.train()


def parameters_of(stage: Stage) -> list[nn.Parameter]:
    """All parameters of a stage."""
    parts = ([member] if isinstance(member, nn.Parameter) else list(member.parameters()) for member in stage)
    return [parameter for part in parts for parameter in part]
