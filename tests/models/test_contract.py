"""The contract that every model family keeps, at every level of inputs and in every variant of its config."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
import torch

import models
from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.nn.cost import cost
from honeyguide.nn.model import Model, weighted_sum
from honeyguide.training.weights import load_model, save_weights, write_description
from models.vae.presets import Preset
from tests.planted import make_spec
from tests.unchecked import unchecked_shapes

SMALL = {"hidden": [24, 12], "channels": [6, 4], "latent_dim": 5, "object_hidden": [12], "attention_heads": 2}
FLOW = {"flow_hidden": 15, "flow_bins": 5, "flow_vectors": 3}
COMPARED = {"emd_feature": "f1", "augmentation": {"smear": {"f0": 0.3}, "drop": 0.2}}
COMPARING = {"supervised_contrastive": 0.01, "ntxent": 0.01, "mmd": 0.1, "adversary": 0.01}
ALL_TERMS = {**COMPARING, "emd": 0.1, "l1": 1e-4, "l2": 1e-4}
SMALL_TAGGER = {"hidden": [24, 12], "classes": {"b": ["bb", "b"], "c": ["c"], "light": ["uds", "g"]}}
SMALL_PARTICLENET = {
    "hidden": [12], "edge_layers": [[8, 6], [10]], "embedding": 7, "num_neighbours": 3, "coordinates": ["x0", "x1"]
}  # fmt: skip
TARGETS = {"mass": {"loss": "logcosh", "quantiles": [0.1, 0.5]}, "energy": {"weight": 0.5}}
SMALL_TRANSFORMER = {"num_heads": 2, "num_layers": 1, "num_class_layers": 1, "embedding": [9, 8], "pair_layers": [6]}
TRANSFORMERS = [
    ("row, four-momenta", {"transformer": {**SMALL_TRANSFORMER, "num_layers": 2, "num_class_layers": 2}}),
    ("row, one set of four-momenta", {"hidden": [12], "transformer": {**SMALL_TRANSFORMER, "layer_scale": 0.5}}),
    ("row, four-momenta", {"transformer": {**SMALL_TRANSFORMER, "num_class_layers": 0, "dropout": 0.0}}),
    ("row, four-momenta", {"transformer": {**SMALL_TRANSFORMER, "version": 2}}),
    ("row, one set of four-momenta", {"transformer": {**SMALL_TRANSFORMER, "version": 3}}),
    ("row, one set of four-momenta", {"transformer": SMALL_TRANSFORMER, "bias": False}),
    ("row, four-momenta", {"transformer": {**SMALL_TRANSFORMER, "version": 2}, "bias": False}),
    ("row, four-momenta", {"transformer": {**SMALL_TRANSFORMER, "version": 3}, "bias": False}),
]
# biases in front of a batch normalisation, which takes them away in training; the published network has them
WITHOUT_EFFECT = re.compile(r"pair_embedding\.linears\.\d+\.bias$")
SMALL_DEEPJET_TRANSFORMER = {
    "network": "deepjet_transformer",
    "deepjet_transformer": {"embedding": [7, 8], "num_blocks": 2, "num_heads": 2, "num_dense": 1},
}
# settings to test a family with; one that is not here is tested with its defaults
VARIANTS = {
    "vae": [
        {"encoder": encoder, "posterior": posterior, **SMALL, **style}
        for encoder in ("dense", "conv")
        for posterior, style in (
            ("none", {"reconstruction": "l1"}),
            ("gaussian", {"normalization": "batch"}),
            ("gaussian", {"normalization": "layer", "dropout": 0.2, "reconstruction": "huber", "activation": "silu"}),
        )
    ],
    "tagger": [
        {"preset": "DeepJet", **SMALL_TAGGER, "hidden": [24, 12, 12]},
        {"preset": "MLP", **SMALL_TAGGER, "terms": {"l1": 1e-5, "l2": 1e-5}, "dropout": 0.0, "label_smoothing": 0.1},
        {"preset": "MLP", "classes": {"heavy": ["b", "bb", "c"], "light": ["uds"]}, "unclassified": "drop"},
    ],
}
# tested at one level of inputs: what they add does not see the inputs, or not all inputs have what they need
VARIANTS_OF_A_LEVEL = {
    "tagger": [
        ("row", {"preset": "DeepJetHLT", "hidden": [24, 12]}),
        *(("row" + more, {"preset": "ParticleNet", **SMALL_PARTICLENET}) for more in ("", ", other sets")),
        ("row", {"preset": "DeepJetTransformer", **SMALL_DEEPJET_TRANSFORMER}),
        ("row, other sets", {**SMALL_DEEPJET_TRANSFORMER, "bias": False}),
        ("row", {"network": "particlenet", **SMALL_PARTICLENET, "fusion": True, "bias": False}),
        ("row, four-momenta", {"preset": "ParticleNetLite", **SMALL_PARTICLENET}),
        ("row", {"sets": {"cpf": {"layers": [7], "recurrent": 9}}, "hidden": [12]}),
        ("row, targets", {"regression": TARGETS, **SMALL_TAGGER, "family": "MLP"}),
        ("row, targets", {"regression": TARGETS, "classify": False, "family": "MLP", "hidden": [12], "dropout": 0.0}),
        *((level, {"preset": "ParticleTransformer", **variant}) for level, variant in TRANSFORMERS),
    ],
    "vae": [("jet", {"preset": preset, **SMALL, **FLOW}) for preset in get_args(Preset)]
    + [
        ("jet", {"encoder": "deep_set", **SMALL, "normalization": "batch", "flow": "planar"}),
        ("constituent", {"encoder": "deep_set", "flow": "householder", "hidden": [], "latent_dim": 5}),
    ]
    + [
        ("jet", {"terms": {name: 0.1}, **COMPARED, **SMALL, **style})
        for name in ("supervised_contrastive", "ntxent", "mmd", "adversary", "emd", "l1", "l2")
        for style in ({"posterior": "none"}, {"normalization": "batch", "flow": "planar"})
    ]
    + [
        ("jet", {"terms": ALL_TERMS, **COMPARED, **SMALL, "encoder": "deep_set"}),
        ("constituent", {"terms": ALL_TERMS, **COMPARED, **SMALL, "encoder": "conv", "dropout": 0.2}),
        ("event", {"terms": ALL_TERMS, **COMPARED, **SMALL, "augmentation": {"smear": {"f0": 0.3}, "drop": 0.0}}),
    ],
}


def row_spec(sizes: dict[str, int], *, num_event_features: int, vectors: bool = False) -> InputSpec:
    """Inputs of rows with a truth and sets of objects, each with another number of features."""
    sets = tuple(
        ObjectSet(
            name=name,
            size=size,
            columns=tuple(Column(name=f"x{i}", feature=f"x{i}", kind="continuous") for i in range(3 + number)),
            vectors=vectors,
        )
        for number, (name, size) in enumerate(sizes.items())
    )
    spec = make_spec("row", shape=(0,), num_features=0, num_event_features=num_event_features)
    return spec.model_copy(update={"sets": sets, "truths": TRUTHS})


TRUTHS = ("b", "bb", "c", "uds", "g")
SPECS = {
    "event": make_spec("event", shape=(1,), num_features=4, num_event_features=0),
    "event, one feature": make_spec("event", shape=(1,), num_features=1, num_event_features=0),
    "jet": make_spec("jet", shape=(3,), num_features=4, num_event_features=2),
    "constituent": make_spec("constituent", shape=(2, 4), num_features=5, num_event_features=1),
}
ROW_SPECS = {
    "row": row_spec({"cpf": 6, "npf": 4, "vtx": 2}, num_event_features=3),
    "row, other sets": row_spec({"tracks": 5, "lost": 2}, num_event_features=0),
    "row, four-momenta": row_spec({"particles": 7, "vertices": 3}, num_event_features=2, vectors=True),
    "row, no sets": row_spec({}, num_event_features=4),
}
# inputs of a variant alone
OTHER_SPECS = {
    "row, one set of four-momenta": row_spec({"particles": 7}, num_event_features=0, vectors=True),
    "row, targets": row_spec({"cpf": 6}, num_event_features=3).model_copy(
        update={"targets": tuple(Column(name=n, feature=n, kind="continuous") for n in ("energy", "pt", "mass"))}
    ),
}
# families that take other inputs than events of objects
LEVELS = {"tagger": ROW_SPECS}
CASES = [
    pytest.param(family, variant, level, id=f"{family}-{number}-{level}")
    for family in models.REGISTRY
    for number, variant in enumerate(VARIANTS.get(family, [{}]))
    for level in LEVELS.get(family, SPECS)
] + [
    pytest.param(family, variant, level, id=f"{family}-{next(iter(variant.values()))}-{level}")
    for family, variants in VARIANTS_OF_A_LEVEL.items()
    for level, variant in variants
]
NUM_EVENTS = 12
for_all_cases = pytest.mark.parametrize(("family", "variant", "level"), CASES)


def spec_of(level: str) -> InputSpec:
    return (SPECS | ROW_SPECS | OTHER_SPECS)[level]


def make_set(item: ObjectSet, num_events: int) -> Objects:
    """Slots are full or empty at random; every third set is empty, as sets of vertices are."""
    mask = torch.rand(num_events, item.size) < 0.6
    mask[1::3] = False
    mask[0] = True
    features = torch.randn(num_events, item.size, len(item.columns)).masked_fill(~mask[..., None], 0)
    if not item.vectors:
        return Objects(features, mask)
    momenta = torch.randn(num_events, item.size, 3) + torch.tensor([20.0, 0.0, 5.0])
    vectors = torch.cat([momenta, (momenta.square().sum(-1, keepdim=True) + 0.02).sqrt()], -1)
    return Objects(features, mask, vectors.masked_fill(~mask[..., None], 0))


def changed(item: Objects, change: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]) -> Objects:
    """The set with other objects in its places; four-momenta are changed as features are, in the same places."""
    if item.vectors is None:
        return Objects(*change(item.features, item.mask))
    both, mask = change(torch.cat([item.features, item.vectors], -1), item.mask)
    return Objects(both[..., :-4], mask, both[..., -4:])


def with_objects(batch: Batch, change: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]) -> Batch:
    """The batch with other objects in all places: ``change`` maps features and mask to features and mask."""
    objects, mask = change(batch.objects, batch.mask)
    sets = {name: changed(item, change) for name, item in batch.sets.items()}
    return replace(batch, objects=objects, mask=mask, sets=sets)


def make_batch(level: str, seed: int = 0, num_events: int = NUM_EVENTS) -> Batch:
    spec = spec_of(level)
    torch.manual_seed(seed)
    mask = torch.rand(num_events, spec.num_objects) < 0.7
    mask[0] = True
    objects = torch.randn(num_events, spec.num_objects, spec.num_features)
    return Batch(
        objects=objects.masked_fill(~mask[..., None], 0),
        mask=mask,
        event=torch.randn(num_events, spec.num_event_features),
        weight=torch.ones(num_events),
        label=torch.zeros(num_events, dtype=torch.int64),
        generator=torch.arange(num_events) % 2,
        event_id=torch.arange(num_events),
        truth=torch.arange(num_events) % len(spec.truths) if spec.truths else None,
        targets=torch.randn(num_events, len(spec.targets)) if spec.targets else None,
        sets={item.name: make_set(item, num_events) for item in spec.sets},
    )


def make_model(family: str, variant: dict, level: str, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return models.build(models.parse({"family": family, **variant}), spec_of(level))


def results(model: Model, batch: Batch) -> torch.Tensor:
    """All scores and latents, one row per event."""
    with torch.inference_mode():
        return torch.cat([torch.stack(list(model.score(batch).values()), 1), model.latent(batch)], 1)


def named_results(model: Model, batch: Batch) -> dict[str, torch.Tensor]:
    scores, latent = model.outputs(batch)
    return {**scores, "latent": latent}


@for_all_cases
def test_terms_are_finite_scalars_named_as_in_the_config(family, variant, level):
    model = make_model(family, variant, level)
    terms = model.loss(make_batch(level))
    assert list(terms) == list(model.config.terms)
    assert all(value.shape == () and torch.isfinite(value) for value in terms.values())


@for_all_cases
def test_the_gradient_reaches_every_parameter(family, variant, level):
    model = make_model(family, variant, level)
    weighted_sum(model.loss(make_batch(level)), model.config.terms).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0 or WITHOUT_EFFECT.search(name), name


@for_all_cases
def test_every_score_is_weighted_by_the_events(family, variant, level):
    model, batch = make_model(family, variant, level).eval(), make_batch(level)
    weight = torch.rand(NUM_EVENTS)
    per_event = model.score(batch)
    weighted = model.loss(replace(batch, weight=weight))
    for name in model.score_terms:
        torch.testing.assert_close(weighted[name], (weight * per_event[name]).mean())


@for_all_cases
def test_scores_and_latents_have_one_row_per_event(family, variant, level):
    model, batch = make_model(family, variant, level).eval(), make_batch(level)
    scores, latent = model.outputs(batch)
    assert set(model.score_terms) <= set(model.config.terms)
    assert all(score.shape == (NUM_EVENTS,) and torch.isfinite(score).all() for score in scores.values())
    assert latent.shape == (NUM_EVENTS, variant.get("latent_dim", latent.shape[-1]))
    assert torch.equal(latent, model.latent(batch))
    if not model.is_detector:
        probabilities = [scores[f"prob_{name}"] for name in model.classes]
        assert list(scores) == [*(f"prob_{name}" for name in model.classes), *model.predictions]
        assert set(model.predictions.values()) <= {column.name for column in spec_of(level).targets}
        assert all(score.dtype == torch.float32 for score in scores.values())
        if model.classes:
            assert all((score >= 0).all() for score in probabilities)
            torch.testing.assert_close(sum(probabilities), torch.ones(NUM_EVENTS))
        return
    assert {"total", *model.score_terms} <= set(scores)
    expected = sum(model.config.terms[name] * scores[name] for name in model.score_terms)
    torch.testing.assert_close(scores["total"], expected)


@for_all_cases
def test_padded_slots_have_no_effect(family, variant, level):
    model, batch = make_model(family, variant, level), make_batch(level)
    for fill in (123.0, torch.nan):
        other = with_objects(batch, lambda x, mask, fill=fill: (x.masked_fill(~mask[..., None], fill), mask))
        torch.manual_seed(5)
        one = model.train().loss(batch)
        torch.manual_seed(5)
        assert all(torch.equal(one[name], value) for name, value in model.loss(other).items())
        model.eval()
        assert torch.equal(results(model, batch), results(model, other))


@for_all_cases
def test_events_without_objects_are_finite(family, variant, level):
    model, batch = make_model(family, variant, level), make_batch(level)
    empty = with_objects(batch, lambda x, mask: (torch.zeros_like(x), torch.zeros_like(mask)))
    total = weighted_sum(model.loss(empty), model.config.terms)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert torch.isfinite(results(model.eval(), empty)).all()


@for_all_cases
def test_an_event_scores_the_same_in_any_batch_and_at_any_time(family, variant, level):
    model, batch = make_model(family, variant, level).eval(), make_batch(level)
    whole = results(model, batch)
    assert torch.equal(whole, results(model, batch))
    alone = batch.rows(3, 4)
    torch.testing.assert_close(results(model, alone), whole[3:4], rtol=1e-4, atol=1e-5)


@for_all_cases
def test_scores_and_latents_do_not_see_the_truth(family, variant, level):
    model, batch = make_model(family, variant, level).eval(), make_batch(level)
    truth = None if batch.truth is None else batch.truth.flip(0)
    other = replace(batch, generator=1 - batch.generator, label=1 - batch.label, weight=3 * batch.weight, truth=truth)
    assert torch.equal(results(model, other), results(model, batch))


@for_all_cases
def test_what_it_costs_is_known(family, variant, level):
    model = make_model(family, variant, level)
    found = cost(model)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.flops > 0


@for_all_cases
def test_saved_and_loaded_it_is_the_same(family, variant, level, tmp_path):
    model, batch = make_model(family, variant, level), make_batch(level)
    model.loss(batch)  # moves running averages away from their start
    save_weights(model.state_dict(), tmp_path / "best.safetensors")
    write_description(model, tmp_path)
    config = models.parse({"family": family, **variant})
    loaded = load_model(tmp_path, lambda spec: models.build(config, spec))
    assert torch.equal(results(loaded, batch), results(model.eval(), batch))


@for_all_cases
def test_a_seed_fixes_weights_and_draws(family, variant, level):
    batch = make_batch(level)
    losses = []
    for seed in (3, 3, 4):
        model = make_model(family, variant, level, seed=seed)
        losses.append(weighted_sum(model.loss(batch), model.config.terms).item())
    assert losses[0] == losses[1] != losses[2]


@for_all_cases
def test_a_short_training_lowers_the_loss_and_scores_stay_distinct(family, variant, level):
    model, batch = make_model(family, variant, level), make_batch(level, num_events=48)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    before = copy.deepcopy(model).eval()
    with unchecked_shapes():
        for _ in range(20):
            optimizer.zero_grad()
            weighted_sum(model.loss(batch), model.config.terms).backward()
            optimizer.step()
    after = model.eval()
    if not model.is_detector:
        main = next(iter(model.config.terms))
        assert after.loss(batch)[main] < before.loss(batch)[main]
        scores = torch.stack(list(after.score(batch).values()), 1)
        has_inputs = torch.cat([batch.event, *(item.mask for item in batch.sets.values())], 1).any(1)
    else:
        scores = after.score(batch)["total"]
        assert scores.mean() < before.score(batch)["total"].mean()
        has_inputs = batch.mask.any(1)
    assert len(torch.unique(scores[has_inputs], dim=0)) == has_inputs.sum()


def shuffled(features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.randperm(mask.shape[1])
    return features[:, order], mask[:, order]


def test_order_of_objects_has_no_effect_where_claimed():
    for family, variant, level in (case.values for case in CASES):
        model, batch = make_model(family, variant, level).eval(), make_batch(level)
        other = with_objects(batch, shuffled)
        with torch.inference_mode():
            before, after = named_results(model, batch), named_results(model, other)
        for name in model.permutation_invariant:
            torch.testing.assert_close(before[name], after[name])
