"""Planted faults of the data are counted and named."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from honeyguide.data.model_inputs import ModelInputs, ModelInputsWriter, read_spec
from honeyguide.diagnostics import quality
from honeyguide.diagnostics.census import column_names, constant_columns, num_leaked, num_repeated, take_census
from honeyguide.diagnostics.inspected import Inspected, read_events
from honeyguide.diagnostics.section import Section


def rewrite(path: Path, folder: Path, **changes) -> None:
    """Writes a file of model inputs again, with functions of its arrays (in place) applied."""
    source = ModelInputs.open(path)
    columns = {field.name: np.array(getattr(source, field.name)) for field in dataclasses.fields(source)}
    for change in changes.values():
        change(columns)
    path.unlink()
    with ModelInputsWriter(path, num_events=len(source), spec=read_spec(folder)) as writer:
        writer.append(columns)


@pytest.fixture
def inputs(looked, tmp_path: Path) -> Path:
    folder = shutil.copytree(looked.sources.inputs, tmp_path / "inputs")
    for path in folder.glob("*/*.h5"):
        rewrite(path, folder, fill=fill)
    return folder


def fill(columns) -> None:
    """Gives every event a leading object."""
    columns["mask"][:, 0] = True


def section_of(looked, inputs: Path) -> Section:
    """Returns the section for other inputs than those of the training."""
    context = looked.context
    events = read_events(inputs, read_spec(inputs), max_events=400, seed=1)
    sources = dataclasses.replace(context.sources, inputs=inputs)
    inspected = Inspected(events, {}, {})
    return quality.section(dataclasses.replace(context, sources=sources, inspected=inspected))


def test_sound_data_raise_no_warning_and_are_counted(looked, inputs: Path) -> None:
    section = section_of(looked, inputs)
    assert section.warnings == ()
    counted = {(item["sample"], item["split"]): item for item in section.data["samples"]}
    source = ModelInputs.open(inputs / "qcd_herwig" / "train.h5")
    found = counted["qcd_herwig", "train"]
    assert found["events"] == len(source)
    assert found["padding"] == pytest.approx(1 - source.mask.mean())
    assert found["lowest"]["f1"] == pytest.approx(source.objects[source.mask][:, 1].min())
    assert found["highest"]["event e0"] == pytest.approx(source.event.max())
    rows = ModelInputs.open(inputs / "svj" / "test.h5")
    median = section.data["quantiles"]["test"]["f0"][2]
    assert abs(median) < np.abs(rows.objects).max()


def test_values_that_are_not_numbers_are_named(looked, inputs: Path) -> None:
    def spoil(columns):
        places = np.argwhere(columns["mask"])
        columns["objects"][(*places[0], 1)] = np.nan
        columns["objects"][(*places[1], 2)] = np.inf
        columns["event"][5, 0] = -np.inf

    rewrite(inputs / "qcd_pythia" / "train.h5", inputs, change=spoil)
    section = section_of(looked, inputs)
    assert section.warnings == ("3 inputs of qcd_pythia (train) are NaN or infinite: f1, f2, event e0.",)
    (item,) = [i for i in section.data["samples"] if (i["sample"], i["split"]) == ("qcd_pythia", "train")]
    assert item["nan"] == {"f0": 0, "f1": 1, "f2": 0, "event e0": 0}
    assert item["infinite"] == {"f0": 0, "f1": 0, "f2": 1, "event e0": 1}
    assert np.isfinite(list(item["highest"].values())).all()


def test_repeated_leaked_and_empty_events_are_counted(inputs: Path) -> None:
    train = ModelInputs.open(inputs / "qcd_herwig" / "train.h5")
    kept = {name: np.array(getattr(train, name)[:7]) for name in ("objects", "mask", "event")}

    def plant(columns):
        for name, values in kept.items():
            columns[name][:7] = values
            columns[name][10:12] = columns[name][20:21]
        columns["mask"][30:33] = False
        columns["objects"][30:33] = 0
        columns["event"][30:33] = 0

    rewrite(inputs / "svj" / "test.h5", inputs, change=plant)
    census = take_census(inputs, read_spec(inputs))
    assert num_leaked(census) == 7
    repeated = num_repeated(census)
    assert repeated["svj", "test"] == 2
    assert sum(repeated.values()) == 2
    assert census["svj", "test"].num_empty == 3


def test_constant_columns_are_found(inputs: Path) -> None:
    for sample in ("qcd_pythia", "qcd_herwig"):

        def constant(columns):
            columns["objects"][columns["mask"], 2] = 0.5

        rewrite(inputs / sample / "train.h5", inputs, change=constant)
    spec = read_spec(inputs)
    assert constant_columns(take_census(inputs, spec), column_names(spec)) == ("f2",)


def test_drift_of_a_split_is_a_warning_that_names_the_feature(looked, inputs: Path) -> None:
    def shift(columns):
        columns["event"] += 0.8

    rewrite(inputs / "qcd_pythia" / "test.h5", inputs, change=shift)
    (warning,) = section_of(looked, inputs).warnings
    assert warning.startswith("Drift between qcd_pythia train and test: event e0, a classifier (AUC 0.")


def test_drift_between_generators_is_found_and_is_no_warning(looked, inputs: Path) -> None:
    for split in ("train", "validation", "test"):

        def shift(columns):
            columns["event"] += 0.8

        rewrite(inputs / "qcd_herwig" / f"{split}.h5", inputs, change=shift)
    section = section_of(looked, inputs)
    assert section.warnings == ()
    (pair,) = section.data["drift"]["generators"]
    assert {pair["first"], pair["second"]} == {"pythia", "herwig"}
    assert [name for name, item in pair["features"].items() if item["differs"]] == ["event e0"]
    assert pair["classifier"]["differs"]
