"""A network is a backbone followed by a linear head; what of it is frozen, and BatchNorm in two forwards.

Two forwards happen in an NDCL step, the second on mixed rows. BatchNorm that is not frozen uses its running statistics
in the second one and leaves them as they are, so that mixed rows never shift what the network knows of real images.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.errors import UserError
from ndcl.models.backbone import Backbone, Stage


class Network(nn.Sequential):
    """Features, then a linear head: [n, ...] -> logits [n, K]."""

    def __init__(self, backbone: Backbone, num_classes: int, config: ModelConfig) -> None:
        super().__init__(backbone, nn.Linear(backbone.num_features, num_classes))
        self.batchnorms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        # Dropout and torchvision's StochasticDepth alike have a rate p.
        self.has_dropout = any(getattr(m, "p", 0.0) > 0 for m in self.modules())
        self._frozen: list[nn.Module] = [*self.batchnorms] if config.freeze_batchnorm else []
        if config.freeze_stages:
            self._freeze(frozen_stages(backbone, config))

    def stages(self) -> list[list[nn.Parameter]]:
        """Parameters of the backbone's stages from the input on, then those of the head: each one once."""
        backbone = cast(Backbone, self[0])
        return [*(parameters_of(stage) for stage in backbone.stages()), list(self[1].parameters())]

    def train(self, mode: bool = True) -> "Network":
        """As `nn.Module.train`, but frozen BatchNorm and frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
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


def frozen_stages(backbone: Backbone, config: ModelConfig) -> list[Stage]:
    """The stages that `config` freezes. Raises UserError if it asks for more than the backbone has."""
    stages = backbone.stages()
    if config.freeze_stages > len(stages):
        raise UserError(
            f"model.freeze_stages: '{config.backbone}' has {len(stages)} stages before its head, so that "
            f"{config.freeze_stages} cannot be frozen; lower it"
        )
    return stages[: config.freeze_stages]


def parameters_of(stage: Stage) -> list[nn.Parameter]:
    """All parameters of a stage."""
    parts = ([member] if isinstance(member, nn.Parameter) else list(member.parameters()) for member in stage)
    return [parameter for part in parts for parameter in part]
