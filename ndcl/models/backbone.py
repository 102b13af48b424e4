"""The contract of a backbone: features of inputs, in stages from the input to the last."""

from torch import nn

Stage = list[nn.Module | nn.Parameter]
"""Modules, and parameters that belong to none of them."""


class Backbone(nn.Module):
    """Inputs [n, ...] to features [n, num_features], dropout for the head included."""

    num_features: int

    def stages(self) -> list[Stage]:
        """Parts that are frozen, or given a learning rate, together, from the input to the last.

        Every parameter is in exactly one of them. Asked anew each time, since sharding replaces parameters.
        """
        raise NotImplementedError
