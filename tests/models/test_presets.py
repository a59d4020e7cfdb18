"""BEAD's model names: what they stand for, and where every parameter more or less than BEAD's comes from."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from pydantic import ValidationError

import models
from honeyguide.settings import significant_values
from models.vae.presets import PRESETS, Preset
from tests.planted import make_spec

# BEAD's inputs: 3 jets of 15 constituents with 5 features each; 15 latent dimensions
SPEC = make_spec("constituent", shape=(3, 15), num_features=5, num_event_features=0)
BEAD = {
    "AE": 143_620,
    "ConvAE": 593_222,
    "ConvVAE": 596_252,
    "Dirichlet_ConvVAE": 596_252,
    "Planar_ConvVAE": 615_038,
    "OrthogonalSylvester_ConvVAE": 642_712,
    "HouseholderSylvester_ConvVAE": 753_812,
    "TriangularSylvester_ConvVAE": 705_332,
    "IAF_ConvVAE": 628_112,
}
MASK_CHANNEL = 32 * 3 * 4
BIASES_BEFORE_NORMALIZATION = (32 + 16 + 8 + 100) + (100 + 16 + 32)
NORMALIZATION_OF_THE_FLAT_IMAGE = 2 * 2880
NORMALIZATION_OF_THE_LATENTS = 2 * 15
UNREAD_LATENT_LAYER = 15 * 100 + 15 + 2 * 15
CONV = MASK_CHANNEL - BIASES_BEFORE_NORMALIZATION - NORMALIZATION_OF_THE_FLAT_IMAGE
CONV_VAE = CONV - UNREAD_LATENT_LAYER


def unused_matrix_entries(rank: int) -> int:
    """BEAD predicts, in 4 steps from 100 hidden units, a matrix of which it uses both triangles, not the diagonal."""
    return 4 * rank * 101


MORE_THAN_BEAD = {
    # the mask beside the features; less normalisations that BEAD's AE has but does not use
    "AE": 45 * 200 - 2 * (200 + 100 + 50 + 15 + 225),
    "ConvAE": CONV - NORMALIZATION_OF_THE_LATENTS,
    "ConvVAE": CONV_VAE,
    "Dirichlet_ConvVAE": CONV_VAE,
    "Planar_ConvVAE": CONV_VAE,
    "OrthogonalSylvester_ConvVAE": CONV_VAE - unused_matrix_entries(5),
    "HouseholderSylvester_ConvVAE": CONV_VAE - unused_matrix_entries(15),
    "TriangularSylvester_ConvVAE": CONV_VAE - unused_matrix_entries(15),
    "IAF_ConvVAE": CONV_VAE,
}


def build(preset: str) -> torch.nn.Module:
    return models.build(models.parse({"family": "vae", "preset": preset}), SPEC)


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("preset", BEAD)
def test_parameters_are_as_many_as_beads_but_for_what_is_named(preset):
    assert num_parameters(build(preset)) == BEAD[preset] + MORE_THAN_BEAD[preset]


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("Planar_ConvVAE", 18_786),
        ("OrthogonalSylvester_ConvVAE", 46_460 - unused_matrix_entries(5)),
        ("HouseholderSylvester_ConvVAE", 157_560 - unused_matrix_entries(15)),
        ("TriangularSylvester_ConvVAE", 109_080 - unused_matrix_entries(15)),
        ("IAF_ConvVAE", 31_860),
        # 4 blocks of 4 convolutions: 15 amplitudes, 6 weights and a bias each, from 100 hidden units
        ("ConvFlow_ConvVAE", 4 * 4 * (15 + 6 + 1) * 101),
    ],
)
def test_flows_have_beads_sizes(preset, more):
    assert num_parameters(build(preset).flow) == more


def test_convolutions_have_beads_kernels_and_paddings():
    model = build("ConvVAE")
    layers = [layer for layer in model.modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    assert [layer.kernel_size for layer in layers] == [(3, 4), (3, 1), (3, 1), (3, 1), (3, 1), (3, 4)]
    assert {layer.padding for layer in layers} == {(1, 1)}
    assert [layer.out_channels for layer in layers] == [32, 16, 8, 16, 32, 1]
    assert model.encoder.layers[0].in_features == 8 * 45 * 8


def test_every_preset_is_a_name_and_the_other_way_round():
    assert set(PRESETS) == set(get_args(Preset))
    assert len(
        {models.parse({"family": "vae", "preset": name}).model_dump_json(exclude={"preset"}) for name in PRESETS}
    ) == len(PRESETS)


def test_a_preset_fills_in_what_is_not_given():
    config = models.parse({"family": "vae", "preset": "IAF_ConvVAE", "flow_steps": 2, "terms": {"kl": 0.01}})
    assert (config.encoder, config.hidden, config.flow, config.flow_hidden) == ("conv", (100,), "iaf", 60)
    assert config.flow_steps == 2
    assert config.terms == {"reconstruction": 1.0, "kl": 0.01, "flow": 0.01}
    strict = type(config).model_validate_json('{"family": "vae", "preset": "AE", "hidden": [7]}', strict=True)
    assert (strict.posterior, strict.hidden) == ("none", (7,))
    assert type(config).model_validate_json(config.model_dump_json(), strict=True) == config


def test_strictness_is_not_lost():
    with pytest.raises(ValidationError, match="valid integer"):
        models.config_class("vae").model_validate_json(
            '{"family": "vae", "preset": "AE", "latent_dim": "5"}', strict=True
        )


def test_an_unknown_preset_is_a_readable_error():
    with pytest.raises(ValidationError, match="'ConvVAE'"):
        models.parse({"family": "vae", "preset": "ConvVEA"})


def test_a_digest_covers_the_name_and_the_values_that_it_stands_for():
    values = significant_values(models.parse({"family": "vae", "preset": "ConvAE"}))
    assert values["preset"] == "ConvAE"
    assert {name: values[name] for name in ("encoder", "conv_padding", "posterior", "normalization")} == {
        "encoder": "conv", "conv_padding": "one", "posterior": "none", "normalization": "batch",
    }  # fmt: skip
    assert set(significant_values(models.parse({"family": "vae"}))) == {"family", "terms"}
