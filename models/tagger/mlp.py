"""Fully connected layers over everything."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.masked import dense_blocks
from models.tagger.config import TaggerConfig


class MLP(nn.Module):
    """Fully connected layers over the features of the row and of all its objects side by side, in their order.

    Empty slots are 0, and a number beside each slot tells whether it is full. Each layer is followed by ReLU, batch
    normalisation and dropout.
    """

    def __init__(self, config: TaggerConfig, spec: InputSpec) -> None:
        super().__init__()
        num_inputs = spec.num_event_features + sum(item.size * (len(item.columns) + 1) for item in spec.sets)
        self.dense = dense_blocks([num_inputs, *config.hidden], dropout=config.dropout)
        self.num_outputs = config.hidden[-1]

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns the last hidden layer, one vector per row."""
        parts = [batch.event]
        for objects in batch.sets.values():
            clean = objects.features.masked_fill(~objects.mask.unsqueeze(-1), 0)
            parts += [clean.flatten(1), objects.mask.to(clean.dtype)]
        hidden: Tensor = self.dense(torch.cat(parts, dim=1))
        return hidden
