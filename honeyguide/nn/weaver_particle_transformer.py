"""Weights of the Particle Transformer by the names that weaver-core, the authors' code, gives them.

A weight's name is that of a part of the network and that of a weight in it. :data:`PARTS` and :data:`BLOCK_PARTS` say
which part is which. Weights have the same shapes, but for convolutions of width 1, which are linear maps here, and the
class token, which has no axes of length 1. Names of a network with one set of objects (``ParticleTransformer``) and of
one with two (``ParticleTransformerTagger``) are known, those of weaver's older attention layers (``in_proj_weight``),
and those of a network that is wrapped as ``mod``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from honeyguide.errors import ModelError

PARTS = {
    "embed.input_bn": "network.transformer.embeddings.0.norm",
    "embed.embed.<n>": "network.transformer.embeddings.0.layers.<n>",
    "pf_embed.input_bn": "network.transformer.embeddings.0.norm",
    "pf_embed.embed.<n>": "network.transformer.embeddings.0.layers.<n>",
    "sv_embed.input_bn": "network.transformer.embeddings.1.norm",
    "sv_embed.embed.<n>": "network.transformer.embeddings.1.layers.<n>",
    "pair_embed.embed.0": "network.transformer.pair_embedding.norm",
    "pair_embed.embed.<3n+1>": "network.transformer.pair_embedding.linears.<n>",
    "pair_embed.embed.<3n+2>": "network.transformer.pair_embedding.norms.<n>",
    "blocks.<n>": "network.transformer.blocks.<n>",
    "cls_blocks.<n>": "network.transformer.class_blocks.<n>",
    "cls_token": "network.transformer.class_token",
    "norm": "network.transformer.norm",
    "fc.<n>.0": "network.dense.<3n>",
    "fc.<n>": "to_logits",
}
"""Parts of the network: weaver's name to that of a Tagger."""
BLOCK_PARTS = {
    "pre_attn_norm": "attention_norm",
    "attn.in_proj": "attention_in",
    "attn.out_proj": "attention_out",
    "post_attn_norm": "attention_post_norm",
    "c_attn": "head_scale",
    "ls1.gamma": "attention_scale",
    "pre_fc_norm": "hidden_norm",
    "fc1": "hidden_in",
    "fc1_g": "hidden_gate",
    "post_fc_norm": "hidden_post_norm",
    "fc2": "hidden_out",
    "ls2.gamma": "hidden_scale",
    "w_resid": "residual_scale",
}
"""Parts of a block: weaver's name to that of a ``TransformerBlock``."""

_WEIGHTS = r"(|\.weight|\.bias|\.running_mean|\.running_var|\.num_batches_tracked)"
_NUMBER = re.compile(r"<(3?)n(?:\+(\d))?>")


def from_weaver(state: Mapping[str, Tensor], like: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Returns the state dict of a Tagger, made of one of weaver's.

    Args:
        state: Weights by weaver's names.
        like: State dict of the Tagger that is to load it; None to compare it with none.

    Raises:
        ModelError: A name is unknown; a weight is missing, or has another shape than in ``like``.
    """
    current = {re.sub(r"\.in_proj_(weight|bias)$", r".in_proj.\1", name): tensor for name, tensor in state.items()}
    found: dict[str, Tensor] = {}
    for name, tensor in current.items():
        own = _renamed(re.sub(r"^(mod\.)?(part\.)?", "", name), forward=True)
        if own is None:
            raise ModelError(f"no weight of weaver's Particle Transformer is named {name!r}", where="weights")
        found[own] = _reshaped(own, tensor)
    if like is not None:
        _check_like(found, like)
    return found


def to_weaver(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a Tagger's state dict by weaver's names; the inverse of :func:`from_weaver`.

    Raises:
        ModelError: The Tagger has a weight for which weaver has no name.
    """
    several = any(name.startswith("network.transformer.embeddings.1.") for name in state)
    last = len({name.split(".")[2] for name in state if name.startswith("network.dense.")})
    found = {}
    for own, tensor in state.items():
        name = _renamed(own, forward=False)
        if name is None:
            raise ModelError(f"weaver's Particle Transformer has no weight like {own!r}", where="weights")
        name = re.sub(r"^fc\.(weight|bias)$", rf"fc.{last}.\1", name)
        if several:
            name = re.sub("^embed", "pf_embed", name) if name.startswith("embed") else name
            name = name if re.match("(pf|sv)_embed", name) else f"part.{name}"
        if ".pair_embedding.linears." in own and own.endswith("weight"):
            tensor = tensor.unsqueeze(-1)
        found[name] = tensor.view(1, 1, -1) if own.endswith(".class_token") else tensor
    return found


def _renamed(name: str, *, forward: bool) -> str | None:
    """Returns Tagger's name of a weight of weaver's, or the other way round; None where there is none."""
    for names in PARTS.items():
        source, target = names if forward else names[::-1]
        factor, offset = _progression(source)
        found = re.fullmatch(_NUMBER.sub(r"(\\d+)", source.replace(".", r"\.")) + r"(.*)", name)
        if found is None:
            continue
        rest = found[found.re.groups]
        if "blocks." in source:
            rest = _renamed_in_block(rest, forward=forward)
        if rest is None or (not re.fullmatch(_WEIGHTS, rest) and "blocks." not in source):
            continue
        if found.re.groups == 1:  # without a number
            return target.replace(".<n>", "") + rest
        number, remainder = divmod(int(found[1]) - offset, factor)
        if not remainder and number >= 0:
            factor, offset = _progression(target)
            return _NUMBER.sub(str(factor * number + offset), target) + rest
    return None


def _progression(name: str) -> tuple[int, int]:
    """Returns factor and offset of the number in a name."""
    found = _NUMBER.search(name)
    return (int(found[1] or 1), int(found[2] or 0)) if found else (1, 0)


def _renamed_in_block(rest: str, *, forward: bool) -> str | None:
    for names in BLOCK_PARTS.items():
        source, target = names if forward else names[::-1]
        weight = rest.removeprefix(f".{source}")
        if weight != rest and re.fullmatch(_WEIGHTS, weight):
            return f".{target}{weight}"
    return None


def _reshaped(own: str, tensor: Tensor) -> Tensor:
    if own.endswith(".class_token"):
        return tensor.flatten()
    is_convolution = ".pair_embedding.linears." in own and own.endswith("weight")
    return tensor.flatten(1) if is_convolution else tensor


def _check_like(found: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(like.keys() - found.keys()), sorted(found.keys() - like.keys())
    if missing or unknown:
        raise ModelError(
            "these weights are of another network",
            where="weights",
            got=f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}",
        )
    for name, tensor in like.items():
        if tensor.shape != found[name].shape:
            raise ModelError(
                f"the weight {name!r} has another shape",
                where="weights",
                got=tuple(found[name].shape),
                allowed=tuple(tensor.shape),
            )
