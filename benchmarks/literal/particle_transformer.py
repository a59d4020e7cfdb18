"""The Particle Transformer written down layer by layer, as it is published, padded to the longest jet there may be.

A reference to measure against and to compare with, not to be used: plain, dense, and without a thought about speed. Its
weights have the names that weaver's first versions gave them, with torch's own layer of attention (arXiv:2202.03772).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def pair_features(vectors: Tensor) -> Tensor:
    """Returns ln kT, ln z, ln Delta, ln m² of the pairs of the lower triangle, (batch, 4, pair).

    Args:
        vectors: px, py, pz, E, (batch, 4, object).
    """
    rows, columns = torch.tril_indices(vectors.shape[-1], vectors.shape[-1], device=vectors.device)
    one, other = vectors[:, :, rows], vectors[:, :, columns]
    pt, rapidity, phi = cylindrical(one)
    other_pt, other_rapidity, other_phi = cylindrical(other)
    turn = (phi - other_phi + math.pi) % (2 * math.pi) - math.pi
    delta = ((rapidity - other_rapidity) ** 2 + turn**2).sqrt()
    smaller = torch.minimum(pt, other_pt)
    total = one + other
    mass_squared = total[:, 3] ** 2 - (total[:, :3] ** 2).sum(1)
    ln_kt = (smaller * delta).clamp(min=1e-8).log()
    ln_z = (smaller / (pt + other_pt).clamp(min=1e-8)).clamp(min=1e-8).log()
    ln_delta = delta.clamp(min=1e-8).log()
    ln_mass_squared = mass_squared.clamp(min=1e-8).log()
    return torch.stack([ln_kt, ln_z, ln_delta, ln_mass_squared], 1)


def cylindrical(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns pt, rapidity and phi of (batch, 4, object)."""
    px, py, pz, energy = vectors.unbind(1)
    rapidity = 0.5 * torch.log(1 + 2 * pz / (energy - pz).clamp(min=1e-20))
    return (px**2 + py**2).sqrt(), rapidity, torch.atan2(py, px)


class Embedding(nn.Module):
    """Every particle alone."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.input_bn = nn.BatchNorm1d(num_features)
        layers: list[nn.Module] = []
        for before, after in ((num_features, 128), (128, 512), (512, 128)):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (batch, object, 128) of (batch, feature, object)."""
        values: Tensor = self.embed(self.input_bn(features).transpose(1, 2))
        return values


class PairEmbedding(nn.Module):
    """Every pair alone."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(4)]
        for before, after in ((4, 64), (64, 64), (64, 64), (64, 8)):
            layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, vectors: Tensor) -> Tensor:
        """Returns the bias of each head and pair, (batch, 8, object, object)."""
        with torch.no_grad():
            features = pair_features(vectors)
        values: Tensor = self.embed(features)
        slots = vectors.shape[-1]
        rows, columns = torch.tril_indices(slots, slots, device=vectors.device)
        bias = values.new_zeros(len(values), 8, slots, slots)
        bias[:, :, rows, columns] = values
        bias[:, :, columns, rows] = values
        return bias


class Block(nn.Module):
    """Attention and a hidden layer, with the normalisations and factors of NormFormer."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.pre_attn_norm = nn.LayerNorm(128)
        self.attn = nn.MultiheadAttention(128, 8, dropout=dropout, batch_first=True)
        self.post_attn_norm = nn.LayerNorm(128)
        self.dropout = nn.Dropout(dropout)
        self.pre_fc_norm = nn.LayerNorm(128)
        self.fc1 = nn.Linear(128, 512)
        self.act = nn.GELU()
        self.act_dropout = nn.Dropout(dropout)
        self.post_fc_norm = nn.LayerNorm(512)
        self.fc2 = nn.Linear(512, 128)
        self.c_attn = nn.Parameter(torch.ones(8))
        self.w_resid = nn.Parameter(torch.ones(128))

    def forward(self, values: Tensor, empty: Tensor, bias: Tensor | None = None, token: Tensor | None = None) -> Tensor:
        """Returns the particles after attention among them, or the token after attention to itself and to them."""
        if token is None:
            assert bias is not None, "particles see each other with a bias"
            residual, normed = values, self.pre_attn_norm(values)
            blind = torch.zeros_like(empty, dtype=bias.dtype).masked_fill(empty, -math.inf)
            seen = self.attn(normed, normed, normed, key_padding_mask=blind, attn_mask=bias.flatten(0, 1))[0]
        else:
            residual, normed = token, self.pre_attn_norm(torch.cat([token, values], 1))
            blind = torch.cat([torch.zeros_like(empty[:, :1]), empty], 1)
            seen = self.attn(token, normed, normed, key_padding_mask=blind)[0]
        seen = (seen.unflatten(2, (8, 16)) * self.c_attn[:, None]).flatten(2)
        values = residual + self.dropout(self.post_attn_norm(seen))
        hidden = self.act_dropout(self.act(self.fc1(self.pre_fc_norm(values))))
        out: Tensor = self.w_resid * values + self.dropout(self.fc2(self.post_fc_norm(hidden)))
        return out


class LiteralParticleTransformer(nn.Module):
    """The network of arXiv:2202.03772 for one set of particles.

    Args:
        num_features: Features of a particle.
        num_classes: Logits.
        dropout: Share of values that are set to 0 in training, in blocks of particles.
    """

    def __init__(self, num_features: int, num_classes: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = Embedding(num_features)
        self.pair_embed = PairEmbedding()
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(8))
        self.cls_blocks = nn.ModuleList(Block(0.0) for _ in range(2))
        self.norm = nn.LayerNorm(128)
        self.fc = nn.Sequential(nn.Linear(128, num_classes))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 128))

    def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Returns logits (batch, class).

        Args:
            features: (batch, object, feature), 0 where there is no object.
            vectors: px, py, pz, E, (batch, object, 4), 0 where there is no object.
            mask: (batch, object), True where there is an object.
        """
        empty = ~mask
        values = self.embed(features.transpose(1, 2)).masked_fill(empty.unsqueeze(-1), 0)
        bias = self.pair_embed(vectors.transpose(1, 2))
        for block in self.blocks:
            values = block(values, empty, bias=bias)
        token = self.cls_token.expand(len(values), 1, -1)
        for block in self.cls_blocks:
            token = block(values, empty, token=token)
        logits: Tensor = self.fc(self.norm(token).squeeze(1))
        return logits
