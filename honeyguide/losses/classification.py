"""How well probabilities of classes agree with the truth."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Float[Tensor, "batch class"], target: Int[Tensor, " batch"], *, label_smoothing: float = 0.0
) -> Float[Tensor, " batch"]:
    """Returns the cross-entropy of each row; 0 for a row that is in no class.

    Args:
        logits: Logarithms of the probabilities, up to a constant of the row.
        target: Code of each row's class; -1 for none.
        label_smoothing: Share of the truth that is spread over all classes (arXiv:1512.00567).
    """
    return functional.cross_entropy(logits, target, ignore_index=-1, label_smoothing=label_smoothing, reduction="none")


def accuracy(
    logits: Float[Tensor, "batch class"], target: Int[Tensor, " batch"], weight: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Returns the weighted share of rows whose class has the largest probability; no gradient comes of it.

    Args:
        logits: Logarithms of the probabilities, up to a constant of the row.
        target: Code of each row's class.
        weight: Weight of each row; negative ones do not count. Where all are 0 the result is 0.
    """
    weight = weight.detach().clamp(min=0)
    total = weight.sum()
    return (weight * (logits.argmax(1) == target)).sum() / total.masked_fill(total == 0, 1)
