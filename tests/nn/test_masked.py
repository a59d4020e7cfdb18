"""Masked layers are the plain ones, given the objects that there are and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from honeyguide.nn.masked import MaskedBatchNorm, MaskedLSTM, ObjectLayers

NUM_SETS, SIZE, NUM_FEATURES = 9, 5, 3


@pytest.fixture
def mask() -> torch.Tensor:
    torch.manual_seed(1)
    mask = torch.rand(NUM_SETS, SIZE) < 0.5  # holes are anywhere
    mask[0], mask[1] = True, False
    return mask


@pytest.fixture
def values() -> torch.Tensor:
    torch.manual_seed(2)
    return 3 + torch.randn(NUM_SETS, SIZE, NUM_FEATURES)


def plain_lstm(layer: MaskedLSTM, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns what the LSTM makes of each set, a set at a time, given its objects alone, the last one first."""
    states = []
    for row, present in zip(values, mask, strict=True):
        objects = row[present].flip(0)
        zero = torch.zeros(layer.lstm.hidden_size)
        states.append(layer.lstm(objects[None])[1][0][0, 0] if len(objects) else zero)
    return torch.stack(states)


@pytest.mark.parametrize("padded", [False, True])
def test_a_recurrent_layer_reads_real_objects_from_the_last_to_the_first(values, mask, padded, monkeypatch):
    layer = MaskedLSTM(NUM_FEATURES, 4)
    if padded:  # the way of a GPU
        monkeypatch.setattr(layer, "_packed", layer._padded)
    torch.testing.assert_close(layer(values, mask), plain_lstm(layer, values, mask))
    changed = values.masked_fill(~mask.unsqueeze(-1), 99.0)
    assert torch.equal(layer(changed, mask), layer(values, mask))
    assert not torch.allclose(layer(values.flip(1), mask.flip(1)), layer(values, mask))


def test_gradients_of_a_recurrent_layer_are_those_of_the_plain_one(values, mask):
    layer = MaskedLSTM(NUM_FEATURES, 4)
    found = []
    for function in (layer, lambda x, m: plain_lstm(layer, x, m)):
        layer.zero_grad()
        inputs = values.clone().requires_grad_()
        function(inputs, mask).square().sum().backward()
        found.append([inputs.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_normalisation_sees_real_rows_alone(values, mask):
    masked, plain = MaskedBatchNorm(NUM_FEATURES, momentum=0.4), nn.BatchNorm1d(NUM_FEATURES, momentum=0.4)
    rows, present = values.flatten(0, 1), mask.flatten()
    filled = rows.masked_fill(~present.unsqueeze(1), 1e4)
    for _ in range(2):
        torch.testing.assert_close(masked(filled, present)[present], plain(rows[present]))
    torch.testing.assert_close(masked.running_mean, plain.running_mean)
    torch.testing.assert_close(masked.running_var, plain.running_var)
    torch.testing.assert_close(masked.eval()(rows), plain.eval()(rows))


@pytest.mark.parametrize("num_rows", [0, 1])
def test_a_batch_without_a_variance_leaves_the_running_statistics(num_rows):
    norm = MaskedBatchNorm(NUM_FEATURES)
    norm(torch.randn(20, NUM_FEATURES))
    before = norm.running_mean.clone(), norm.running_var.clone()
    rows = torch.randn(6, NUM_FEATURES)
    some = torch.arange(6) < num_rows
    for result in (norm(rows[some]), norm(rows, some)):
        assert torch.isfinite(result).all()
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])


def test_layers_of_objects_are_the_same_with_and_without_the_padding(values, mask):
    layers = ObjectLayers(NUM_FEATURES, (6, 4), dropout=0.0)
    with_nan = values.masked_fill(~mask.unsqueeze(-1), torch.nan)
    compact = layers(with_nan, mask)
    assert compact.shape == (NUM_SETS, SIZE, 4)
    assert (compact[~mask] == 0).all()
    clean = values.masked_fill(~mask.unsqueeze(-1), 0).flatten(0, 1)  # the way of a GPU
    torch.testing.assert_close(layers._layers(clean, mask.flatten())[mask.flatten()], compact[mask])
