"""Convolutions fit any number of objects and features, and the decoder's are their inverse in shape."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from honeyguide.nn.convolution import plan_convolutions


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 9)),
    num_layers=st.integers(1, 4),
    padding=st.sampled_from(["half", "one"]),
)
def test_any_image_keeps_at_least_one_cell_and_comes_back(size, num_layers, padding):
    image = torch.zeros(1, 1, *size)
    plan = plan_convolutions(size, num_layers, padding=padding)
    for shape in plan.shapes:
        image = nn.Conv2d(1, 1, shape.kernel, padding=shape.padding)(image)
    assert image.shape[2:] == plan.output
    assert min(plan.output) >= 1
    for shape in reversed(plan.shapes):
        image = nn.ConvTranspose2d(1, 1, shape.kernel, padding=shape.padding)(image)
    assert image.shape[2:] == size


def test_beads_shape():
    plan = plan_convolutions((45, 5), 3)
    assert [shape.kernel for shape in plan.shapes] == [(3, 4), (3, 1), (3, 1)]
    assert plan.output == (45, 4)
    assert plan_convolutions((45, 5), 3, padding="one").output == (45, 8)
