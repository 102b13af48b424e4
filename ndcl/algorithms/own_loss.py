"""What the loss of a user's own algorithm returns, looked at before a step makes anything of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from ndcl.algorithms.base import Loss, Rows
from ndcl.errors import UserError


def checked_loss(loss: Callable[[Rows], Loss], name: str, rows: Rows) -> Loss:
    """What `loss` returns for `rows`. Raises UserError, with the algorithm's `name`, if a step can't use that."""
    found = loss(rows)
    problem = _problem(found)
    if problem is not None:
        raise UserError(f"'{name}': {problem} (docs/extending.md)")
    return found


def _problem(found: object) -> str | None:
    if not isinstance(found, Loss):
        return f"loss returns {_kind(found)}; return ndcl.algorithms.Loss(total=..., terms={{...}})"
    if not _is_number(found.total):
        return f"the total of its loss is {_kind(found.total)}; make it one number, such as a mean"
    if not found.total.requires_grad:
        return "the total of its loss has no gradient; make it of logits or features that are not detached"
    if not isinstance(found.terms, dict) or "total" not in found.terms:
        return "the terms of its loss lack 'total'; give terms={'total': total.detach()}"
    for key, term in found.terms.items():
        if not _is_number(term):
            return (
                f"the term '{key}' of its loss is {_kind(term)}; give a tensor of one number, or put it in host_terms"
            )
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 0 and value.dtype != torch.bool


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return "None" if value is None else f"of type {type(value).__name__}"
