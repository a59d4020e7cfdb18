"""Weights of weaver-core give what weaver-core gives, and every name has its place."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

import models
from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import Column, ObjectSet
from honeyguide.errors import ModelError
from honeyguide.nn.model import Model
from honeyguide.nn.weaver_particle_transformer import from_weaver, to_weaver
from tests.nn.weaver_states import GOLDEN, objects, state
from tests.planted import make_spec


def columns(number: int) -> tuple[Column, ...]:
    return tuple(Column(name=f"x{i}", feature=f"x{i}", kind="continuous") for i in range(number))


def make_tagger(widths: dict[str, int], num_classes: int, **settings: object) -> Model:
    sets = tuple(ObjectSet(name=name, size=24, columns=columns(width), vectors=True) for name, width in widths.items())
    spec = make_spec("row", shape=(0,), num_features=0, num_event_features=0)
    spec = spec.model_copy(update={"sets": sets, "truths": tuple(f"class{i}" for i in range(num_classes))})
    return models.build(models.parse({"family": "tagger", "preset": "ParticleTransformer", **settings}), spec).eval()


def make_batch(sets: dict[str, Objects]) -> Batch:
    rows = len(next(iter(sets.values())).mask)
    nothing, codes = torch.zeros(rows, 0), torch.zeros(rows, dtype=torch.int64)
    return Batch(
        objects=nothing[..., None],
        mask=nothing.bool(),
        event=nothing,
        weight=torch.ones(rows),
        label=codes,
        generator=codes,
        event_id=codes,
        sets=sets,
    )


def logits(tagger: Model, sets: dict[str, Objects]) -> torch.Tensor:
    with torch.inference_mode():
        return tagger.to_logits(tagger.latent(make_batch(sets)))


def published(version: int, **settings: object) -> Model:
    return make_tagger({"particles": 17}, 10, transformer={"version": version, **settings})


@pytest.mark.parametrize("name", ["published", "1", "2", "3"])
def test_logits_are_those_of_weaver(name: str) -> None:
    """Of the authors' example, and of weaver's versions with its own choice of what is behind the last layer."""
    golden = GOLDEN[name]
    tagger = published(1) if name == "published" else published(int(name), pair_activation=False)
    tagger = tagger.double()
    tagger.load_state_dict(from_weaver(state(golden["shapes"]), tagger.state_dict()), strict=True)
    expected = torch.tensor(golden["logits"], dtype=torch.float64)
    torch.testing.assert_close(logits(tagger, {"particles": objects(17)}), expected, rtol=1e-7, atol=1e-8)
    single = logits(tagger.float(), {"particles": objects(17, dtype=torch.float32)})
    # the masses of pairs are rounded as weaver rounds them
    torch.testing.assert_close(single, torch.tensor(golden["single"]), rtol=1e-5, atol=2e-5)


def weaver_tagger() -> Model:
    """Two sets, as ParticleTransformerTagger has, and a fully connected layer."""
    small = {"num_layers": 2, "num_class_layers": 1, "pair_activation": False}
    return make_tagger({"particles": 7, "vertices": 5}, 3, transformer=small, hidden=[16])


def test_logits_of_two_sets_are_those_of_weaver() -> None:
    golden = GOLDEN["tagger"]
    tagger = weaver_tagger().double()
    tagger.load_state_dict(from_weaver(state(golden["shapes"]), tagger.state_dict()))
    particles = objects(7)
    vertices = Objects(
        *(tensor.flip(0)[:, :9] for tensor in (particles.features[..., :5], particles.mask, particles.vectors))
    )
    found = logits(tagger, {"particles": particles, "vertices": vertices})
    torch.testing.assert_close(found, torch.tensor(golden["logits"], dtype=torch.float64), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", GOLDEN)
def test_there_and_back_again(name: str) -> None:
    weights = state(GOLDEN[name]["shapes"])
    again = to_weaver(from_weaver(weights))
    assert list(again) == list(weights)
    assert all(torch.equal(again[key], tensor) for key, tensor in weights.items())


def test_a_taggers_own_weights_have_weavers_names_and_shapes() -> None:
    for name, tagger in {"1": published(1), "2": published(2), "3": published(3), "tagger": weaver_tagger()}.items():
        found = {key: list(tensor.shape) for key, tensor in to_weaver(tagger.state_dict()).items()}
        assert found == GOLDEN[name]["shapes"]
    scaled = to_weaver(published(2, layer_scale=0.1).state_dict())
    assert scaled["blocks.3.ls1.gamma"].shape == scaled["cls_blocks.1.ls2.gamma"].shape == (128,)


def test_older_and_wrapped_names_are_known() -> None:
    weights = state(GOLDEN["1"]["shapes"])
    older = {"mod." + re.sub(r"in_proj\.", "in_proj_", name): tensor for name, tensor in weights.items()}
    assert "mod.blocks.0.attn.in_proj_weight" in older
    assert from_weaver(older).keys() == from_weaver(weights).keys()


def test_what_does_not_belong_is_named() -> None:
    weights, like = state(GOLDEN["1"]["shapes"]), published(1).state_dict()
    for name in ("blocks.0.attn.other.weight", "pair_embed.embed.3.weight", "fts_embed.0.weight", "norm.other"):
        with pytest.raises(ModelError, match=re.escape(name)):
            from_weaver({**weights, name: torch.zeros(1)}, like)
    with pytest.raises(ModelError, match=r"missing: network\.transformer\.blocks\.7\.head_scale"):
        from_weaver({name: tensor for name, tensor in weights.items() if name != "blocks.7.c_attn"}, like)
    with pytest.raises(ModelError, match=r"class_blocks\.2\.hidden_out\.bias"):
        from_weaver({**weights, "cls_blocks.2.fc2.bias": torch.zeros(128)}, like)
    with pytest.raises(ModelError, match=r"'to_logits\.weight' has another shape\n.*\n.*got: \(2, 128\)"):
        from_weaver({**weights, "fc.0.weight": torch.zeros(2, 128)}, like)
    with pytest.raises(ModelError, match=r"no weight like 'network\.transformer\.row_embedding"):
        to_weaver({**like, "network.transformer.row_embedding.hidden.weight": torch.zeros(1)})


def test_padding_has_no_effect() -> None:
    tagger, jets = published(1), objects(17, dtype=torch.float32)
    few = Objects(jets.features[:, :20], jets.mask[:, :20], jets.vectors[:, :20])
    wide = replace(jets, features=jets.features.masked_fill(~jets.mask[..., None], 9.0))
    expected = logits(tagger, {"particles": jets})
    for other in (few, wide):
        torch.testing.assert_close(logits(tagger, {"particles": other}), expected, rtol=1e-5, atol=1e-5)
