"""Settings are checked before any event is read, with the nearest right name."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from honeyguide.preprocess.settings import DEFAULT_FEATURES, PreprocessSettings, locate_feature


def parse(**values) -> PreprocessSettings:
    import json

    return PreprocessSettings.model_validate_json(json.dumps(values), strict=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": [{"name": "pt", "scaler": "log+standart"}]}, "'standart' is not a scaler; nearest: standard"),
        ({"features": [{"name": "ptt"}]}, "nearest: pt"),
        ({"features": [{"name": "jet_btagg"}]}, "nearest: jet_btag"),
        ({"level": "jet", "features": [{"name": "jet_btag"}]}, "nearest: btag"),
        ({"features": [{"name": "pt", "scaler": "sincos"}]}, "is for angles"),
        ({"features": [{"name": "phi", "scaler": "sincos+standard"}]}, "stands alone"),
        ({"features": [{"name": "pt", "scaler": "onehot"}]}, "'onehot' is for categories"),
        ({"features": [{"name": "pdg_class"}]}, "categories want 'onehot'"),
        ({"features": [{"name": "pdg_id", "scaler": "onehot"}]}, "take pdg_class"),
        ({"features": [{"name": "pt"}, {"name": "pt", "scaler": "log"}]}, "given twice"),
        ({"event_features": [{"name": "mett"}]}, "nearest: met"),
        ({"level": "event", "event_features": [{"name": "met"}]}, "belong in features"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "nothing is left to train on"),
        ({"jet_ordering": "ptt"}, "jet_ordering: 'ptt' can't order jets; nearest: pt"),
        ({"constituent_ordering": "pdg_class"}, "can't order constituents"),
        ({"num_jets": 0}, "greater than 0"),
        ({"num_jet": 3}, "Extra inputs"),
    ],
)
def test_impossible_settings_are_readable_errors(values, message):
    with pytest.raises(ValidationError, match=message):
        parse(**values)


@pytest.mark.parametrize("level", ["event", "jet", "constituent"])
def test_defaults_of_each_level_are_valid(level):
    settings = parse(level=level)
    assert settings.object_features == DEFAULT_FEATURES[level]
    explicit = PreprocessSettings(level=level, features=DEFAULT_FEATURES[level])
    assert explicit.object_features == settings.object_features
    for feature in settings.object_features:
        locate_feature(feature.name, level)


def test_spaces_around_stages_do_not_matter():
    assert parse(features=[{"name": "pt", "scaler": "log + standard"}]).features[0].stages == ("log", "standard")


def test_settings_are_light():
    code = (
        "import sys, honeyguide.preprocess.settings; print([m for m in ('numpy', 'torch', 'h5py') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
