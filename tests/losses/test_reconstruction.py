"""Masked reconstruction against a loop over valid entries."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from honeyguide.losses.reconstruction import masked_reconstruction


def entry(loss: str, difference: float) -> float:
    if loss == "mse":
        return difference**2
    if loss == "l1":
        return abs(difference)
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
@pytest.mark.parametrize("num_event_features", [0, 2])
def test_is_the_mean_over_valid_entries_of_each_event(loss, num_event_features):
    torch.manual_seed(0)
    objects, decoded = 2 * torch.randn(5, 4, 3), 2 * torch.randn(5, 4, 3)
    event, decoded_event = torch.randn(5, num_event_features), torch.randn(5, num_event_features)
    mask = torch.rand(5, 4) < 0.5
    mask[0], mask[1] = True, False
    result = masked_reconstruction(decoded, objects, mask, loss=loss, reconstructed_event=decoded_event, event=event)
    for i in range(5):
        entries = [
            entry(loss, float(d - o))
            for j in range(4)
            if mask[i, j]
            for d, o in zip(decoded[i, j], objects[i, j], strict=True)
        ]
        entries += [entry(loss, float(d - o)) for d, o in zip(decoded_event[i], event[i], strict=True)]
        expected = sum(entries) / len(entries) if entries else 0.0
        assert result[i].item() == pytest.approx(expected, rel=1e-5)


def test_what_stands_in_padded_slots_reaches_neither_loss_nor_gradient():
    objects = torch.randn(3, 4, 2)
    mask = torch.tensor([[True, True, False, False]] * 2 + [[False] * 4])
    gradients, losses = [], []
    for padding in (0.0, 7.0, torch.nan, torch.inf):
        decoded = torch.arange(24.0).reshape(3, 4, 2).requires_grad_()
        loss = masked_reconstruction(decoded, objects.masked_fill(~mask[..., None], padding), mask, loss="mse")
        loss.sum().backward()
        losses.append(loss.detach())
        gradients.append(decoded.grad)
    assert all(torch.equal(loss, losses[0]) for loss in losses)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
    assert losses[0][2] == 0


def test_shapes_in_annotations_are_checked_under_pytest():
    with pytest.raises(TypeCheckError):
        masked_reconstruction(
            torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.bool), loss="mse"
        )
