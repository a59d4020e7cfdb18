"""Layers over sets of objects of which some slots are empty: what stands in those has no effect on anything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of rows of which some may be no objects: these enter neither means nor variances.

    A batch with less than two objects, of which no variance is known, leaves the running statistics as they are.
    """

    def forward(
        self,
        input: Float[Tensor, "row feature"],
        present: Bool[Tensor, " row"] | None = None,
    ) -> Float[Tensor, "row feature"]:
        """Returns the normalised rows.

        Args:
            input: Values.
            present: Which rows are objects; all, if not given.
        """
        if not self.training or (present is None and len(input) > 1):
            return functional.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum or 0.0,
                self.eps,
            )
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        weight = torch.ones_like(values[:, :1]) if present is None else present.unsqueeze(1).to(values.dtype)
        count = weight.sum()
        mean = (values * weight).sum(0) / count.clamp(min=1)
        centred = values - mean
        variance = (centred.square() * weight).sum(0) / count.clamp(min=1)
        self.follow(mean.detach(), variance.detach(), count)
        normalised = centred * torch.rsqrt(variance + self.eps)
        return normalised * self.weight + self.bias if self.affine else normalised

    def folded(self, weight: Float[Tensor, "feature input"]) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the linear map that does what a map with this weight and then this norm do.

        That is so in evaluation mode.
        """
        assert self.running_mean is not None, "running statistics are tracked"
        assert self.running_var is not None, "running statistics are tracked"
        scale = torch.rsqrt(self.running_var + self.eps)
        if self.affine:
            scale = scale * self.weight
        offset = -self.running_mean * scale
        return weight * scale.unsqueeze(1), offset + self.bias if self.affine else offset

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Moves the running statistics to those of a batch, as torch does: with the unbiased variance.

        Args:
            mean: Means of the batch.
            variance: Biased variances.
            count: Rows of the batch; with less than two, nothing is moved.
        """
        assert self.running_mean is not None, "running statistics are tracked"
        assert self.running_var is not None, "running statistics are tracked"
        share = (self.momentum or 0.0) * (count > 1)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), share)


class DenseBlock(nn.Module):
    """A linear map, then ReLU, batch normalisation and dropout, in DeepJet's order (arXiv:2008.10519)."""

    def __init__(self, num_inputs: int, num_outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs)
        self.norm = make_norm(num_outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, rows: Float[Tensor, "row input"], present: Bool[Tensor, " row"] | None = None
    ) -> Float[Tensor, "row output"]:
        """Returns the block's outputs; ``present`` tells which rows are objects, all if not given."""
        values: Tensor = self.dropout(self.norm(torch.relu(self.linear(rows)), present))
        return values


def make_norm(width: int) -> MaskedBatchNorm:
    """Returns a batch normalisation whose running means take 40 % of each batch, as DeepJet's do (0.6 in Keras)."""
    return MaskedBatchNorm(width, eps=1e-3, momentum=0.4)


def dense_blocks(widths: Sequence[int], *, dropout: float) -> nn.Sequential:
    """Returns blocks from ``widths[0]`` to ``widths[-1]`` values, for rows that are all present."""
    return nn.Sequential(*(DenseBlock(before, after, dropout=dropout) for before, after in pairwise(widths)))


def may_drop_padding(values: Tensor) -> bool:
    """Returns whether padding may be dropped: how many objects there are is known, and shapes may depend on it.

    A GPU would have to be waited for, and what is compiled would be compiled again for every batch.
    """
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


class ObjectLayers(nn.Module):
    """The same layers for every object of a set, each seen alone (1x1 convolutions).

    The features are normalised first; then come :class:`DenseBlock` for all widths but the last, which has neither
    normalisation nor dropout.

    Args:
        num_features: Features of an object.
        widths: Outputs of the layers, at least one.
        dropout: Share of the hidden values that are set to 0 during training.
    """

    def __init__(self, num_features: int, widths: Sequence[int], *, dropout: float) -> None:
        super().__init__()
        self.norm = make_norm(num_features)
        before = [num_features, *widths[:-1]]
        self.blocks = dense_blocks(before, dropout=dropout)
        self.last = nn.Linear(before[-1], widths[-1])

    def forward(
        self, features: Float[Tensor, "batch object feature"], mask: Bool[Tensor, "batch object"]
    ) -> Float[Tensor, "batch object width"]:
        """Returns the last layer's outputs; 0 where there is no object."""
        if may_drop_padding(features):  # only real objects are worth the time
            rows = self._layers(features[mask], None)
            return rows.new_zeros(*mask.shape, rows.shape[1]).masked_scatter(mask.unsqueeze(-1), rows)
        clean = features.masked_fill(~mask.unsqueeze(-1), 0)
        rows = self._layers(clean.flatten(0, 1), mask.flatten())
        return rows.view(*mask.shape, -1).masked_fill(~mask.unsqueeze(-1), 0)

    def _layers(self, rows: Float[Tensor, "row feature"], present: Bool[Tensor, " row"] | None) -> Tensor:
        rows = self.norm(rows, present)
        for block in self.blocks:
            rows = block(rows, present)
        return torch.relu(self.last(rows))


class MaskedLSTM(nn.Module):
    """A recurrent layer that reads the objects of a set from the last to the first, and those that there are alone.

    Its output is the hidden state after the first object: that of a plain LSTM that is given the objects in reverse
    order without any padding; 0 for a set without objects.
    """

    def __init__(self, num_features: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_features, width, batch_first=True)

    def forward(
        self, values: Float[Tensor, "batch object feature"], mask: Bool[Tensor, "batch object"]
    ) -> Float[Tensor, "batch width"]:
        """Returns one vector per set."""
        slots = torch.arange(mask.shape[1], device=mask.device)
        order = torch.where(mask, slots, slots - len(slots)).argsort(1, descending=True)
        backwards = values.gather(1, order.unsqueeze(-1).expand_as(values))
        count = mask.sum(1)
        # where padding can't be dropped it is read too, after what counts
        state = self._packed(backwards, count) if may_drop_padding(values) else self._padded(backwards, count)
        return state.masked_fill((count == 0).unsqueeze(1), 0)

    def _packed(self, values: Tensor, count: Tensor) -> Tensor:
        """Returns the last states, reading no padding.

        At each step the sets that have ended drop out. torch's own loop over packed sequences fills as much memory as
        all its inputs take at each step on its way back.
        """
        packed = pack_padded_sequence(values, count.clamp(min=1), batch_first=True, enforce_sorted=False)
        sizes = packed.batch_sizes.tolist()
        weight = torch.cat([self.lstm.get_parameter(f"weight_{part}_l0") for part in ("ih", "hh")], dim=1)
        bias = self.lstm.get_parameter("bias_ih_l0") + self.lstm.get_parameter("bias_hh_l0")
        hidden, cell = packed.data.new_zeros(2, sizes[0], self.lstm.hidden_size).unbind(0)
        ended: list[Tensor] = []
        for inputs, following in zip(torch.split(packed.data, sizes), [*sizes[1:], 0], strict=True):
            gates = functional.linear(torch.cat([inputs, hidden], dim=1), weight, bias)
            into, keep, new, out = gates.chunk(4, 1)
            cell = keep.sigmoid() * cell + into.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            hidden, last = torch.split(hidden, [following, len(hidden) - following])
            cell = cell[:following]
            ended.insert(0, last)
        assert packed.unsorted_indices is not None, "packing has sorted by length"
        return torch.cat(ended)[packed.unsorted_indices]

    def _padded(self, values: Tensor, count: Tensor) -> Tensor:
        states, _ = self.lstm(values)
        last = (count - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, states.shape[-1])
        state: Tensor = states.gather(1, last).squeeze(1)
        return state
