"""The three losses of NDCL (arXiv 2601.21999) as pure functions: tensors in, a 0-d tensor out.

N rows of a batch, M generated rows, K classes, D source domains, C classes present, T prototypes.
Half-precision logits are computed on in float32, others in their own precision. Nothing here loops over rows or
classes, and nothing waits for the device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ndcl.batch import Layout


def reweighted_cross_entropy(
    logits: Tensor,
    layout: Layout,
    class_weights: Tensor,
    logit_offsets: Tensor | None = None,
    hardness: float = 1.0,
) -> Tensor:
    """Re-weighted cross-entropy, which pulls each class together by its hardest rows.

    (1/C) sum_i h_i W[d_i, y_i] l_i, with l_i the row's cross-entropy and h its softmax over the rows of its class in
    the whole batch, taken as a constant (arXiv 2601.21999, the compactness term).

    Args:
        logits: [N, K].
        class_weights: [D, K] weight of class k in source domain d.
        logit_offsets: [D, K] added to the logits of a domain's rows (Menon et al. 2021), or None.
        hardness: factor on l within h: 1 is the published form, 0 the plain mean over the rows of a class.
    """
    logits = _adjusted(full_precision(logits), layout, logit_offsets)
    losses = F.cross_entropy(logits, layout.labels, reduction="none")
    constant = hardness * losses.detach()
    shares = torch.exp(constant - masked_logsumexp(constant.expand(layout.num_rows, -1), layout.same_class))
    weights = class_weights.to(logits.dtype)[layout.domains, layout.labels]
    return (shares * weights * losses).sum() / layout.num_classes_present


def mean_cross_entropy(
    logits: Tensor, layout: Layout, class_weights: Tensor | None = None, logit_offsets: Tensor | None = None
) -> Tensor:
    """(1/N) sum_i W[d_i, y_i] l_i: cross-entropy as the mean over rows; of unit weights it is that of ERM.

    With the log of the class frequencies as offsets it is balanced softmax (Ren et al. 2020, eq. 4).

    Args:
        logits: [N, K].
        class_weights: [D, K], or None for 1 throughout.
        logit_offsets: [D, K] added to the logits of a domain's rows, or None.
    """
    logits = _adjusted(full_precision(logits), layout, logit_offsets)
    if class_weights is None:
        return F.cross_entropy(logits, layout.labels)
    losses = F.cross_entropy(logits, layout.labels, reduction="none")
    return (class_weights.to(logits.dtype)[layout.domains, layout.labels] * losses).mean()


def negatives_dominant_margin(
    logits: Tensor,
    mixed_logits: Tensor,
    mixed_labels: Tensor,
    has_negatives: Tensor,
    layout: Layout,
    temperature: float = 1.0,
) -> Tensor:
    """Contrastive loss over predictions in which the generated hard negatives dominate (arXiv 2601.21999).

    (1/C) sum_k (1/n_k) sum_i log(1 + pos_i / neg_i), with pos_i the sum of exp(-S/temperature) over the other rows of
    the class and neg_i over the rows generated as negatives of the class; S is the cosine of two predictions. A class
    with a single row, or without generated rows, contributes 0 and still counts in C.

    Args:
        logits: [N, K] of the real rows.
        mixed_logits: [M, K] of the generated rows.
        mixed_labels: [M] the class that each generated row is a negative for.
        has_negatives: [N] bool, whether any generated row has the row's class.
        temperature: 1 is the published form.
    """
    rows, negatives = _directions(full_precision(logits)), _directions(full_precision(mixed_logits))
    alike = -(rows @ rows.T) / temperature
    apart = -(rows @ negatives.T) / temperature
    others = layout.same_class & ~torch.eye(layout.num_rows, dtype=torch.bool, device=logits.device)
    log_ratio = masked_logsumexp(alike, others) - masked_logsumexp(
        apart, layout.labels[:, None] == mixed_labels[None, :]
    )
    counts = has_negatives & (layout.class_size > 1)
    log_ratio = torch.where(counts, log_ratio, 0.0)
    losses = torch.where(counts, torch.logaddexp(log_ratio, torch.zeros_like(log_ratio)), 0.0)
    return (losses / layout.class_size.to(losses.dtype)).sum() / layout.num_classes_present


def prototype_alignment(logits: Tensor, layout: Layout, temperature: float = 1.0) -> Tensor:
    """Alignment of each class's mean predictions across domains: one posterior everywhere (arXiv 2601.21999).

    For each (domain, class) prototype of a class present in at least two domains, -log of the share of the same
    class's other prototypes in the sum of exp(S/temperature) over all other prototypes, averaged within a class and
    then over classes. 0 if no class is shared.

    Args:
        logits: [N, K].
        temperature: 1 is the published form.
    """
    logits = full_precision(logits)
    if layout.num_prototypes == 0:
        return (logits * 0.0).sum()
    prototypes = layout.averaging.to(logits.dtype) @ logits.softmax(dim=1)
    prototypes = F.normalize(prototypes, dim=1)
    scores = prototypes @ prototypes.T / temperature
    others = ~torch.eye(layout.num_prototypes, dtype=torch.bool, device=logits.device)
    same_class = layout.prototype_class[:, None] == layout.prototype_class[None, :]
    losses = masked_logsumexp(scores, others) - masked_logsumexp(scores, others & same_class)
    return (layout.prototype_weight.to(logits.dtype) * losses).sum()


def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy with a teacher's answers as targets (Hinton et al. 2015): T^2 (1/N) sum_i sum_k -q_ik log p_ik.

    p and q are the softmax of logits over T; T^2 keeps the gradient's size whatever T is.

    Args:
        logits: [N, K].
        teacher_logits: [N, K], without a gradient.
        temperature: T; above 1 it shows more of what the teacher thinks of the other classes.
    """
    targets = (full_precision(teacher_logits) / temperature).softmax(dim=1)
    return temperature**2 * F.cross_entropy(full_precision(logits) / temperature, targets)


def full_precision(logits: Tensor) -> Tensor:
    """`logits` in float32 if they are half precision, else unchanged."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _adjusted(logits: Tensor, layout: Layout, logit_offsets: Tensor | None) -> Tensor:
    """`logits` [N, K] with the offsets [D, K] of each row's domain."""
    return logits if logit_offsets is None else logits + logit_offsets.to(logits.dtype)[layout.domains]


def _directions(logits: Tensor) -> Tensor:
    """Predictions [n, K] scaled to unit length, so that their products are cosines."""
    return F.normalize(logits.softmax(dim=1), dim=1)


def masked_logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """Row-wise log of the sum of exp over the entries where `mask` holds; a very low number where none does.

    The lowest finite number instead of -inf keeps the gradient of an empty row 0 instead of NaN.
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).logsumexp(dim=1)
