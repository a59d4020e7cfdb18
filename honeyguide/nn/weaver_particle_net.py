"""Weights of weaver-core's ParticleNet for ours, and ours for weaver's: another name for each tensor, none changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from honeyguide.errors import ModelError

NAMES: tuple[tuple[str, str], ...] = (
    ("bn_fts.*", "network.embeddings.0.norm.*"),
    ("edge_convs.<block>.convs.0.weight", "network.blocks.<block>.first.weight"),
    ("edge_convs.<block>.convs.<map>.weight", "network.blocks.<block>.others.<map - 1>.weight"),
    ("edge_convs.<block>.bns.<map>.*", "network.blocks.<block>.norms.<map>.*"),
    ("edge_convs.<block>.sc.weight", "network.blocks.<block>.shortcut.weight"),
    ("edge_convs.<block>.sc_bn.*", "network.blocks.<block>.shortcut_norm.*"),
    ("fusion_block.0.weight", "network.fusion.linear.weight"),
    ("fusion_block.1.*", "network.fusion.norm.*"),
    ("fc.<layer>.0.*", "network.dense.<3 layer>.*"),
    ("fc.<last>.*", "to_logits.*"),
)
"""Names in weaver-core 0.5.3 (``weaver.nn.model.ParticleNet``) and here; ``*`` are all tensors of the layer.

Weaver's maps are convolutions of size 1: their weights have one axis of length 1 more in ``sc`` and ``fusion_block``,
and two more in ``convs``."""

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_LINEAR = ("weight", "bias")


def from_weaver(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the state dict of a tagger with the network ``particlenet``, one set and no embedding.

    Args:
        state: The state dict of weaver-core's ParticleNet.

    Raises:
        ModelError: A name is missing, or there is one more.
    """
    state = {re.sub(r"^mod\.", "", name): tensor for name, tensor in state.items()}  # the authors' examples wrap it
    names = _names(
        maps=_counts(state, r"edge_convs\.(\d+)\.convs\.(\d+)\.weight"),
        num_hidden=len(_counts(state, r"fc\.(\d+)\.(0)\.weight")),
        fusion="fusion_block.0.weight" in state,
    )
    _check(names, state)
    return {
        ours: state[theirs].flatten(1) if state[theirs].ndim > 2 else state[theirs] for theirs, ours in names.items()
    }


def to_weaver(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the state dict of weaver-core's ParticleNet of one of ours: the inverse of :func:`from_weaver`.

    Raises:
        ModelError: It is not that of a tagger with the network ``particlenet``, one set and no embedding.
    """
    maps = _counts(state, r"network\.blocks\.(\d+)\.norms\.(\d+)\.weight")
    num_hidden = len(_counts(state, r"network\.dense\.(\d+)\.(weight)"))
    names = _names(maps=maps, num_hidden=num_hidden, fusion="network.fusion.linear.weight" in state)
    _check(names.values(), state)
    return {theirs: state[ours].reshape((*state[ours].shape, *_further_axes(theirs))) for theirs, ours in names.items()}


def _names(*, maps: list[int], num_hidden: int, fusion: bool) -> dict[str, str]:
    """Returns our name of each of weaver's, for a network with so many maps in its blocks."""
    layers: list[tuple[str, str, tuple[str, ...]]] = [("bn_fts", "network.embeddings.0.norm", _NORM)]
    for block, count in enumerate(maps):
        theirs, ours = f"edge_convs.{block}", f"network.blocks.{block}"
        for number in range(count):
            own = f"{ours}.others.{number - 1}" if number else f"{ours}.first"
            layers += [(f"{theirs}.convs.{number}", own, ("weight",))]
            layers += [(f"{theirs}.bns.{number}", f"{ours}.norms.{number}", _NORM)]
        layers += [(f"{theirs}.sc", f"{ours}.shortcut", ("weight",))]
        layers += [(f"{theirs}.sc_bn", f"{ours}.shortcut_norm", _NORM)]
    if fusion:
        layers += [("fusion_block.0", "network.fusion.linear", ("weight",))]
        layers += [("fusion_block.1", "network.fusion.norm", _NORM)]
    layers += [(f"fc.{number}.0", f"network.dense.{3 * number}", _LINEAR) for number in range(num_hidden)]
    layers += [(f"fc.{num_hidden}", "to_logits", _LINEAR)]
    return {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours, parts in layers for part in parts}


def _counts(names: Iterable[str], pattern: str) -> list[int]:
    """Returns how many second numbers there are beside each first number of the names that the pattern matches."""
    found = [match.group(1) for match in map(re.compile(pattern).fullmatch, names) if match]
    return [found.count(first) for first in dict.fromkeys(found)]


def _further_axes(name: str) -> tuple[int, ...]:
    if not name.endswith("weight"):
        return ()
    return (1, 1) if ".convs." in name else (1,) if name.endswith((".sc.weight", "fusion_block.0.weight")) else ()


def _check(expected: Iterable[str], state: Mapping[str, Tensor]) -> None:
    names = set(expected)
    for name in names - set(state):
        hint = None
        if re.fullmatch(r"edge_convs\.\d+\.sc.*", name):
            hint = "weaver's blocks with as many outputs as inputs have no shortcut layer, and ours have one"
        raise ModelError("the weights are not those of a ParticleNet: one is missing", got=f"no {name}", hint=hint)
    further = [name for name in state if name not in names]
    if further:
        raise ModelError("the weights are not those of a ParticleNet: there are others", got=", ".join(further[:5]))
