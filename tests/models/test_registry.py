"""The registry: every folder is in it, configs load no torch, mistakes are readable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import models
from honeyguide.errors import ConfigError
from honeyguide.settings import Settings, significant_values


def test_every_family_folder_is_registered():
    folder = Path(models.__file__).parent
    assert sorted(path.parent.name for path in folder.glob("*/config.py")) == sorted(models.REGISTRY)
    assert all(issubclass(models.config_class(family), Settings) for family in models.REGISTRY)


def test_configs_are_torch_free():
    code = (
        "import sys, models; [models.config_class(f) for f in models.REGISTRY]; "
        "import honeyguide.training.settings, honeyguide.inference.settings; "
        "print([m for m in ('torch', 'numpy', 'h5py') if m in sys.modules])"
    )
    root = Path(models.__file__).parent.parent
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(("family", "nearest"), [("vea", "vae"), ("ConvVEA", "ConvVAE"), ("42", None), (None, None)])
def test_an_unknown_family_is_an_error_with_the_nearest_name(family, nearest):
    with pytest.raises(ConfigError) as caught:
        models.config_class(family)
    assert caught.value.details["nearest"] == nearest
    assert "vae" in str(caught.value)


def test_terms_that_are_not_given_keep_their_weights():
    assert models.parse({"family": "vae"}).terms == {"reconstruction": 1.0, "kl": 1e-3}
    assert models.parse({"family": "vae", "terms": {"kl": 0.5}}).terms == {"reconstruction": 1.0, "kl": 0.5}
    assert models.parse({"family": "vae", "posterior": "none"}).terms == {"reconstruction": 1.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"posterior": "none", "terms": {"kl": 0.1}}, "plain autoencoder"),
        ({"terms": {"kll": 0.1}}, "no term kll: allowed are reconstruction, kl"),
        ({"terms": {"kl": -0.1}}, "greater than or equal to 0"),
        ({"terms": {"kl": float("inf")}}, "finite"),
        ({"terms": {"reconstruction": 0, "kl": 0}}, "nothing to train on"),
        ({"encoder": "conv", "channels": []}, "at least one entry"),
        ({"hidden": [0]}, "greater than 0"),
        ({"latent": 3}, "Extra inputs"),
        ({"posterior": "none", "flow": "planar"}, "no posterior for flow: planar"),
        ({"posterior": "none", "prior": "dirichlet"}, "drawn to no prior"),
        ({"preset": "AE", "flow": "iaf"}, "no posterior for flow: iaf"),
        ({"prior": "dirichlet", "flow": "iaf"}, "exclude each other"),
        ({"prior": "dirichlet", "latent_dim": 1}, "latent_dim of 2 or more"),
        ({"flow": "orthogonal_sylvester", "flow_vectors": 4, "latent_dim": 3}, "can't have 4 orthogonal vectors"),
        ({"terms": {"flow": 0.1}}, "no flow term without a flow"),
        ({"preset": ["AE"]}, "Input should be"),
    ],
)
def test_impossible_configs_are_readable_errors(values, message):
    with pytest.raises(ValidationError, match=message):
        models.parse({"family": "vae", **values})


def test_a_config_survives_json_and_can_be_hashed():
    config = models.parse({"family": "vae", "encoder": "conv", "terms": {"kl": 0.2}})
    again = type(config).model_validate_json(config.model_dump_json(), strict=True)
    assert again == config
    assert hash(again) == hash(config)
    assert significant_values(config)["family"] == "vae"
