"""DeepJetTransformer: its published layers, its attention against loops, and a form without any bias."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import models
from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.errors import ConfigError
from honeyguide.nn import deepjet_transformer
from honeyguide.nn.deepjet_transformer import Form, HeavyFlavourBlock
from honeyguide.nn.model import Model
from honeyguide.nn.point_clouds import PackedCloud, PaddedCloud
from tests.planted import make_spec

SETS = {"cpf": (6, 16), "npf": (5, 8), "vtx": (3, 14)}
SMALL = {"embedding": [8, 8], "num_blocks": 2, "num_heads": 2, "num_dense": 1}


def make_inputs(num_event_features: int = 15) -> InputSpec:
    sets = tuple(
        ObjectSet(
            name=name,
            size=size,
            columns=tuple(Column(name=f"x{i}", feature=f"x{i}", kind="continuous") for i in range(width)),
        )
        for name, (size, width) in SETS.items()
    )
    spec = make_spec("row", shape=(0,), num_features=0, num_event_features=num_event_features)
    return spec.model_copy(update={"sets": sets, "truths": ("b", "bb", "lepb", "c", "uds", "g")})


def build(num_event_features: int = 15, **values: Any) -> Model:
    torch.manual_seed(0)
    config = models.parse({"family": "tagger", "preset": "DeepJetTransformer", **values})
    return models.build(config, make_inputs(num_event_features))


def make_batch(num_rows: int = 7) -> Batch:
    """The last row has no objects."""
    torch.manual_seed(1)
    empty, codes, sets = torch.zeros(num_rows, 0), torch.arange(num_rows), {}
    for name, (size, width) in SETS.items():
        mask = torch.rand(num_rows, size) < 0.6
        mask[-1] = False
        sets[name] = Objects(torch.randn(num_rows, size, width).masked_fill(~mask[..., None], 0), mask)
    return Batch(
        objects=empty[..., None],
        mask=empty.bool(),
        event=torch.randn(num_rows, 15),
        weight=torch.ones(num_rows),
        label=torch.zeros_like(codes),
        generator=torch.zeros_like(codes),
        event_id=codes,
        truth=codes % 6,
        sets=sets,
    )


def test_it_has_the_published_layers() -> None:
    """Of 15 features of the jet, 16, 8 and 14 of charged, neutral candidates and vertices, and 6 classes."""

    def dense(*widths: int) -> int:
        return sum((before + 1) * after for before, after in pairwise(widths))

    def layer(before: int, after: int) -> int:
        return dense(before, after) + 2 * 2 * after

    embedding = sum(2 * width + layer(width, 64) for _, width in SETS.values())
    embedding += 3 * (layer(64, 128) + dense(64, 128) + 2 * 128 + layer(128, 128))
    block = layer(128, 128) + 4 * dense(128, 128) + 2 * 2 * 128 + dense(128, 512, 128)
    pooling = 128 + 2 * 128  # the bias of the weights, of which nothing depends, is left out
    classifier = 2 * 15 + 3 * layer(143, 143) + dense(143, 6)
    model = build()
    expected = embedding + 3 * block + pooling + classifier
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.1}
    assert model.latent(make_batch()).shape[1] == 143


@pytest.mark.parametrize("layout", [PackedCloud, PaddedCloud])
def test_attention_is_what_loops_give(layout: Any) -> None:
    torch.manual_seed(3)
    block = HeavyFlavourBlock(8, 2, Form()).eval()
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    objects = torch.randn(2, 4, 8).masked_fill(~mask[..., None], 0)
    cloud = layout(mask)
    found = cloud.in_slots(block(cloud.table(objects), cloud, mask[:, None, None]))
    for row in range(2):
        own = objects[row, mask[row]]
        straight = block.layer(own)
        query, key, value = block.to_queries_keys_values(straight).chunk(3, dim=1)
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            weight = (query[:, head] @ key[:, head].T / 2).softmax(1)
            heads.append(weight @ value[:, head])
        values = block.norm(straight + block.from_heads(torch.cat(heads, dim=1)))
        expected = block.last_norm(values + block.second(block.first(values).relu()))
        torch.testing.assert_close(found[row, mask[row]], expected)


@pytest.mark.parametrize("training", [False, True])
def test_padded_table_gives_what_the_packed_one_gives(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The former is that of GPUs and of what is compiled."""
    batch, results = make_batch(), []
    for make in (PackedCloud, PaddedCloud):
        monkeypatch.setattr(deepjet_transformer, "make_cloud", make)
        model = build(deepjet_transformer=SMALL, dropout=0.0).train(training)
        found = model.to_logits(model.latent(batch))
        found.sum().backward()
        results.append([found, *(parameter.grad for parameter in model.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_pooling_weighs_by_the_softmax_over_all_sets() -> None:
    model = build(deepjet_transformer=SMALL | {"num_blocks": 1}).eval()
    batch = make_batch()
    seen: dict[str, Tensor] = {}
    block, norm = model.network.blocks[-1], model.network.pooled_norm
    block.register_forward_hook(lambda _block, inputs, output: seen.update(rows=output, cloud=inputs[1]))
    norm.register_forward_hook(lambda _norm, inputs, _output: seen.update(pooled=inputs[0]))
    model.latent(batch)
    rows, mask = seen["cloud"].in_slots(seen["rows"]), torch.cat([item.mask for item in batch.sets.values()], 1)
    for row in range(len(batch)):
        own = rows[row, mask[row]]
        expected = (model.network.to_weight(own).softmax(0) * own).sum(0).relu()
        torch.testing.assert_close(seen["pooled"][row], expected)


def test_maps_of_attention_are_shares_of_the_objects_that_there_are() -> None:
    model, batch = build(deepjet_transformer=SMALL).eval(), make_batch()
    mask = torch.cat([item.mask for item in batch.sets.values()], 1)
    maps = model.inspect(batch)
    for number in range(2):
        weights = maps[f"attention/{number}"]
        assert weights.shape == (len(batch), 2, mask.shape[1], mask.shape[1])
        torch.testing.assert_close(weights.sum(3), mask[:, None].expand(-1, 2, -1).float())
        assert not weights.masked_select(~mask[:, None, None]).any()
    torch.testing.assert_close(maps["pooling"].sum(1), mask.any(1).float())
    assert not maps["pooling"][~mask].any()
    block, rows = model.network.blocks[0], model.network._embedded(batch)
    _, _, value = block._heads(block.layer(rows[0]), rows[1])
    read = rows[1].table((maps["attention/0"] @ value).transpose(1, 2).flatten(2))
    straight = block.layer(rows[0])
    values = block.norm(straight + block.from_heads(read))
    expected = block.last_norm(values + block.second(block.first(values).relu()))
    torch.testing.assert_close(block(*rows), expected)


def test_without_biases_it_has_none() -> None:
    model, batch = build(deepjet_transformer=SMALL, bias=False).eval(), make_batch()
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm))]
    assert all(not list(norm.parameters()) for norm in norms)
    assert model.to_logits(model.latent(batch)).abs().sum() > 0
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    # the shortcuts carry the row's features past the layers: only these are left of the latents
    latent = model.latent(batch)
    assert not latent[:, 15:].any()
    assert not model.to_logits(latent).any()


def test_what_can_not_be_is_a_readable_error() -> None:
    with pytest.raises(ValidationError, match="heads can't share a width"):
        build(deepjet_transformer={"embedding": [7], "num_heads": 2})
    config = models.parse({"family": "tagger", "preset": "DeepJetTransformer"})
    with pytest.raises(ConfigError, match="needs sets"):
        models.build(config, make_inputs().model_copy(update={"sets": ()}))
