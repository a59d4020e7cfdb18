"""The feature table and the description of samples."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from honeyguide.data.features import FEATURES, PDG_CLASSES
from honeyguide.data.sample import SampleInfo
from honeyguide.settings import significant_values

BACKGROUND = {"name": "qcd_a", "process": "qcd", "generator": "a", "label": "background"}
SIGNAL = {"name": "svj", "process": "svj", "generator": "a", "label": "signal"}


def test_every_feature_has_a_label_a_unit_where_it_needs_one_and_a_range():
    for collection, features in FEATURES.items():
        for name, feature in features.items():
            assert feature.name == name
            assert feature.label
            assert feature.low < feature.high
            assert (feature.kind == "angle") == (feature.unit == "rad"), (collection, name)
            assert (name in {"pt", "mass", "met"}) == (feature.unit == "GeV"), (collection, name)
    assert FEATURES["constituents"]["pdg_class"].categories == PDG_CLASSES
    assert FEATURES["jets"]["pt"].axis_label == r"jet $p_\mathrm{T}$ [GeV]"
    assert FEATURES["jets"]["eta"].axis_label == r"jet $\eta$"


def test_stored_columns_are_the_features_that_are_not_derived(shared_data, tmp_path):
    from honeyguide.io.convert import convert_files
    from honeyguide.io.event_store import EventStore
    from honeyguide.io.settings import ReaderSettings

    sample = SampleInfo.model_validate(BACKGROUND)
    files = [shared_data / "bead" / "bkg_train_sherpa.csv"]
    convert_files(files, tmp_path, sample=sample, settings=ReaderSettings())
    truth = {"id", "process", "generator", "signal_point", "label"}
    with EventStore(tmp_path / "events.h5") as store:
        for collection, features in FEATURES.items():
            stored = {name for name, feature in features.items() if not feature.derived}
            assert set(store.columns[collection]) - truth == stored
        for block in store.iter_blocks():
            for name, feature in FEATURES["constituents"].items():
                if not feature.derived:
                    values = block.collections["constituents"].columns[name]
                    assert values.min() >= feature.low
                    assert values.max() <= feature.high


def test_signal_point_has_one_name_whatever_the_order():
    names = {
        SampleInfo(**SIGNAL, signal_point=point).signal_name
        for point in ({"mass": 3500, "r_inv": 0.3}, {"r_inv": 0.3, "mass": 3500.0})
    }
    assert names == {"mass=3500,r_inv=0.3"}
    assert SampleInfo(**SIGNAL).signal_name is None
    assert (SampleInfo(**SIGNAL).label_code, SampleInfo(**BACKGROUND).label_code) == (1, 0)


def test_background_is_divided_and_signal_is_for_the_test():
    assert SampleInfo(**BACKGROUND).split == "hash"
    assert SampleInfo(**SIGNAL).split == "test"
    assert SampleInfo(**SIGNAL, split="train").split == "train"
    assert "split" not in significant_values(SampleInfo(**BACKGROUND))


def test_samples_survive_json():
    for values in (BACKGROUND, {**SIGNAL, "signal_point": {"mass": 1}}):
        sample = SampleInfo.model_validate_json(json.dumps(values), strict=True)
        assert SampleInfo.model_validate_json(sample.model_dump_json(), strict=True) == sample


@pytest.mark.parametrize(
    "values",
    [
        {**BACKGROUND, "signal_point": {"mass": 1}},
        {**SIGNAL, "signal_point": {}},
        {**SIGNAL, "signal_point": {"mass": float("nan")}},
        {**SIGNAL, "signal_point": {"a,b": 1}},
        {**BACKGROUND, "name": "../escape"},
        {**BACKGROUND, "name": ""},
        {**BACKGROUND, "label": "bkg"},
        {**BACKGROUND, "colour": "red"},
    ],
)
def test_contradictions_are_errors(values):
    with pytest.raises(ValidationError):
        SampleInfo.model_validate(values)
