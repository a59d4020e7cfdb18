"""Taggers: which truths are in which class, what is published of DeepJet, what a loss is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

import models
from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.errors import ConfigError, ModelError
from honeyguide.nn import weaver_particle_net, weaver_particle_transformer
from honeyguide.nn.model import Model
from honeyguide.settings import significant_values
from models.tagger.presets import PRESETS, Preset
from tests.planted import make_spec

TRUTHS = ("b", "bb", "c", "uds", "g")
NUM_ROWS = 40


def columns(number: int) -> tuple[Column, ...]:
    return tuple(Column(name=f"x{i}", feature=f"x{i}", kind="continuous") for i in range(number))


def tagging_spec(num_event_features: int = 15, **sets: tuple[int, int]) -> InputSpec:
    """Sets are given as name=(size, number of features)."""
    items = tuple(ObjectSet(name=name, size=size, columns=columns(width)) for name, (size, width) in sets.items())
    spec = make_spec("row", shape=(0,), num_features=0, num_event_features=num_event_features)
    return spec.model_copy(update={"truths": TRUTHS, "sets": items})


SPEC = tagging_spec(2, cpf=(4, 3))


def build(spec: InputSpec = SPEC, **values: Any) -> Model:
    torch.manual_seed(0)
    return models.build(models.parse({"family": "tagger", **values}), spec)


def make_batch() -> Batch:
    torch.manual_seed(1)
    empty = torch.zeros(NUM_ROWS, 0)
    mask = torch.rand(NUM_ROWS, 4) < 0.5
    return Batch(
        objects=empty[..., None],
        mask=empty.bool(),
        event=torch.randn(NUM_ROWS, 2),
        weight=torch.rand(NUM_ROWS),
        label=torch.zeros(NUM_ROWS, dtype=torch.int64),
        generator=torch.zeros(NUM_ROWS, dtype=torch.int64),
        event_id=torch.arange(NUM_ROWS),
        truth=torch.arange(NUM_ROWS) % len(TRUTHS),
        sets={"cpf": Objects(torch.randn(NUM_ROWS, 4, 3).masked_fill(~mask[..., None], 0), mask)},
    )


def test_deepjet_has_the_published_layers():
    """The published inputs: 15 features of the jet, 25 charged and 25 neutral candidates, 4 vertices; 6 classes."""
    spec = tagging_spec(15, cpf=(25, 16), npf=(25, 6), vtx=(4, 12))
    spec = spec.model_copy(update={"truths": ("b", "bb", "lepb", "c", "uds", "g")})

    def dense(*widths: int) -> int:
        return sum((before + 1) * after for before, after in pairwise(widths))

    def lstm(inputs: int, width: int) -> int:
        return 4 * width * (inputs + width + 2)  # torch has two biases where Keras has one

    published = {
        "cpf": dense(16, 64, 32, 32, 8) + lstm(8, 150),
        "npf": dense(6, 32, 16, 4) + lstm(4, 50),
        "vtx": dense(12, 64, 32, 32, 8) + lstm(8, 50),
        "dense": dense(15 + 150 + 50 + 50, 200, *[100] * 7),
        "output": dense(100, 6),
    }
    normalised = (15 + 16 + 6 + 12) + (64 + 32 + 32) + (32 + 16) + (64 + 32 + 32) + (150 + 50 + 50) + (200 + 700)
    model = build(spec, preset="DeepJet")
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(published.values()) + 2 * normalised
    widths = {reader.name: reader.num_outputs for reader in model.network.readers}
    assert widths == {"cpf": 150, "npf": 50, "vtx": 50}
    assert {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)} == {0.1}


def test_every_truth_is_a_class_where_none_are_given():
    assert build().classes == TRUTHS
    assert list(build().eval().score(make_batch())) == [f"prob_{name}" for name in TRUTHS]


def test_classes_are_groups_of_truths_in_the_order_of_the_settings():
    classes = {"light": ("g", "uds"), "c": ("c",), "b": ("bb", "b")}
    model = build(classes=classes)
    assert model.classes == ("light", "c", "b")
    assert model.class_of_truth.tolist() == [2, 2, 1, 0, 0, -1]


@pytest.mark.parametrize(
    ("values", "what", "nearest"),
    [
        ({"classes": {"b": ("b", "bb"), "c": ("c",)}}, "in no class: uds, g", None),
        ({"classes": {"b": ("b", "bbb"), "c": ("c",)}}, "no truth 'bbb'", "bb"),
        (
            {"classes": {"b/c": ("b", "c"), "light": ("g",)}, "unclassified": "drop"},
            "name that scores can't have",
            None,
        ),
        ({"sets": {"cfp": {"recurrent": 3}}}, "no set 'cfp'", "cpf"),
    ],
)
def test_what_the_inputs_do_not_have_is_a_readable_error(values, what, nearest):
    with pytest.raises(ConfigError, match=what) as caught:
        build(**values)
    assert caught.value.details["nearest"] == nearest


def test_inputs_without_truths_are_an_error():
    with pytest.raises(ConfigError, match="have none"):
        build(make_spec("jet"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": {"all": ["b", "c"]}}, "two or more classes"),
        ({"classes": {"b": ["b"], "c": []}}, "classes without a truth: c"),
        ({"classes": {"b": ["b", "c"], "c": ["c"]}}, "in more than one class, or twice in one: c"),
        ({"terms": {"accuracy": 1.0}}, "no gradient to train on"),
        ({"terms": {"cross_entropy": 0.0}}, "nothing to train on"),
        ({"terms": {"kl": 0.1}}, "no term kl: allowed are cross_entropy, accuracy, l1, l2, regression, quantile"),
        ({"preset": "DeepJte"}, "'DeepJetHLT'"),
        ({"hidden": []}, "needs a fully connected layer"),
        ({"preset": "MLP", "bias": False}, "no form without biases"),
        ({"transformer": {"num_heads": 3}}, "3 heads do not divide a width of 128"),
    ],
)
def test_impossible_settings_are_readable_errors(values, message):
    with pytest.raises(ValidationError, match=message):
        models.parse({"family": "tagger", **values})


def test_the_loss_is_the_weighted_cross_entropy_of_the_rows_that_are_in_a_class():
    batch = make_batch()
    truth = batch.truth.clone()
    truth[:5] = -1
    batch = replace(batch, truth=truth)
    model = build(classes={"heavy": ("b", "bb", "c"), "light": ("uds",)}, unclassified="drop").eval()
    probabilities = torch.stack(list(model.score(batch).values()), 1).detach()
    # written out: row by row, by the names of the truths
    expected, right, total = 0.0, 0.0, 0.0
    for row in range(NUM_ROWS):
        name = None if truth[row] < 0 else TRUTHS[truth[row]]
        if name in ("b", "bb", "c", "uds"):
            column, weight = int(name == "uds"), float(batch.weight[row])
            expected -= weight * float(probabilities[row, column].log()) / NUM_ROWS
            right += weight * float(probabilities[row, column] > 0.5)
            total += weight
    terms = model.loss(batch)
    assert terms["cross_entropy"].item() == pytest.approx(expected, rel=1e-5)
    assert terms["accuracy"].item() == pytest.approx(right / total, rel=1e-5)


def test_rows_in_no_class_move_no_weight():
    """They are never taken for the first class, nor for any."""
    model, batch = build(classes={"b": ("b",), "c": ("c",)}, unclassified="drop", dropout=0.0).eval(), make_batch()
    nothing = replace(batch, truth=torch.full_like(batch.truth, TRUTHS.index("g")))
    model.loss(nothing)["cross_entropy"].backward()
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)
    none = replace(batch, truth=torch.full_like(batch.truth, -1))
    assert model.loss(none)["cross_entropy"] == 0
    assert model.loss(none)["accuracy"] == 0


def test_label_smoothing_is_torchs():
    batch = replace(make_batch(), weight=torch.ones(NUM_ROWS))
    model = build(label_smoothing=0.2).eval()
    logits = torch.stack(list(model.score(batch).values()), 1).log()
    expected = functional.cross_entropy(logits, batch.truth, label_smoothing=0.2)
    torch.testing.assert_close(model.loss(batch)["cross_entropy"], expected)


def test_every_preset_is_a_name_and_the_other_way_round():
    assert set(PRESETS) == set(get_args(Preset))


def test_a_preset_fills_in_what_is_not_given():
    config = models.parse({"family": "tagger", "preset": "MLP", "dropout": 0.3})
    assert (config.network, config.hidden, config.dropout) == ("mlp", (256, 128, 64), 0.3)
    again = type(config).model_validate_json(config.model_dump_json(), strict=True)
    assert again == config
    assert hash(again) == hash(config)


def test_the_name_of_a_preset_stands_for_family_and_preset():
    named = models.parse({"family": "DeepJetHLT", "dropout": 0.2})
    assert named == models.parse({"family": "tagger", "preset": "DeepJetHLT", "dropout": 0.2})
    assert significant_values(named)["preset"] == "DeepJetHLT"
    assert models.parse({"family": "ConvVAE"}) == models.parse({"family": "vae", "preset": "ConvVAE"})
    with pytest.raises(ConfigError, match="another one is given"):
        models.parse({"family": "DeepJetHLT", "preset": "MLP"})
    with pytest.raises(ConfigError) as caught:
        models.parse({"family": "DeepJetHTL"})
    assert caught.value.details["nearest"] == "DeepJetHLT"


def test_presets_of_families_have_different_names():
    names = [name for family in models.REGISTRY for name in models._presets(family)]
    assert len(set(names)) == len(names)
    assert not set(names) & set(models.REGISTRY)


def test_in_bfloat16_probabilities_have_a_sum_of_1():
    model, batch = build().eval(), make_batch()
    with torch.autocast("cpu", torch.bfloat16):
        scores = model.score(batch)
    torch.testing.assert_close(sum(scores.values()), torch.ones(NUM_ROWS), rtol=0, atol=1e-6)


def test_particlenet_has_the_published_number_of_parameters() -> None:
    """366k in table III of arXiv:1902.08570: 7 features of 100 particles, 2 classes."""
    particles = tuple(Column(name=name, feature=name, kind="continuous") for name in ("deta", "dphi", *"abcde"))
    spec = tagging_spec(0).model_copy(
        update={"sets": (ObjectSet(name="particles", size=100, columns=particles),), "truths": ("top", "qcd")}
    )
    model = build(spec, preset="ParticleNet", embedding=None)
    # input normalisation; edge convolutions with the bias-free maps and normalisations of edges and shortcut; dense
    expected = 2 * 7
    for before, width in ((7, 64), (64, 128), (128, 256)):
        expected += (2 * before + 2 * width + before) * width + 4 * 2 * width
    expected += 257 * 256 + 257 * 2
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 366_160


def test_particlenet_says_which_inputs_it_lacks() -> None:
    with pytest.raises(ConfigError, match="deta, dphi"):
        build(SPEC, preset="ParticleNet")
    two = tagging_spec(2, cpf=(4, 3), sv=(2, 3))
    with pytest.raises(ConfigError, match="several sets need an embedding"):
        build(two, preset="ParticleNet", embedding=None, coordinates=("x0", "x1"))
    with pytest.raises(ConfigError, match="needs sets"):
        build(tagging_spec(2), preset="ParticleNet")


PARTICLES = InputSpec(
    level="row", shape=(0,), columns=(), processes=("p",), generators=("g",), truths=("a", "b"),
    sets=(
        ObjectSet(
            name="part", size=5, vectors=True,
            columns=tuple(Column(name=name, feature=name, kind="continuous") for name in ("deta", "dphi", "pt_log")),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "to_weaver"),
    [
        (
            {"preset": "ParticleNet", "embedding": None, "edge_layers": [[8, 8], [10]], "num_neighbours": 2},
            weaver_particle_net.to_weaver,
        ),
        (
            {
                "preset": "ParticleTransformer",
                "transformer": {
                    "num_heads": 2,
                    "num_layers": 1,
                    "num_class_layers": 1,
                    "embedding": [9, 8],
                    "pair_layers": [6],
                },
            },
            weaver_particle_transformer.to_weaver,
        ),
    ],
    ids=["ParticleNet", "ParticleTransformer"],
)
def test_published_weights_are_recognised(config, to_weaver):
    model = models.build(models.parse({"family": "tagger", **config}), PARTICLES)
    state = model.state_dict()
    for prefix in ("", "mod.", "module.mod."):
        found = model.from_published({prefix + name: value for name, value in to_weaver(state).items()})
        assert found.keys() == state.keys()
        assert all(torch.equal(value, found[name]) for name, value in state.items())
    assert model.from_published(state).keys() == state.keys()
    with pytest.raises(ModelError):
        model.from_published({"fc.weight.x": torch.zeros(2)})


def test_particle_transformer_is_the_published_one_with_one_linear_map_behind_it() -> None:
    spec = tagging_spec(0, particles=(128, 17)).model_copy(update={"truths": tuple("abcdefghij")})
    spec = spec.model_copy(update={"sets": (spec.sets[0].model_copy(update={"vectors": True}),)})
    model = build(spec, preset="ParticleTransformer")
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_143_486
    assert model.to_logits.weight.abs().max() <= (6 / 138) ** 0.5  # as the authors' code begins
    assert not model.to_logits.bias.any()
    assert build(spec, preset="ParticleTransformer", bias=False).to_logits.bias is None


def test_particle_transformer_says_which_inputs_it_lacks() -> None:
    with pytest.raises(ConfigError, match=r"set 'cpf' has none\n.*\n.*preprocess\.sets\.cpf\.vectors"):
        build(SPEC, preset="ParticleTransformer")
    with pytest.raises(ConfigError, match="needs sets"):
        build(tagging_spec(2), preset="ParticleTransformer")
