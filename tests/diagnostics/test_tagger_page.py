"""The page of a tagger: sections that make sense, by truth, and a sentence where there is nothing to see."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

import models
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.diagnostics.activations import map_activations
from honeyguide.diagnostics.census import column_names, num_leaked, take_census
from honeyguide.diagnostics.context import make_context
from honeyguide.diagnostics.drift import event_features
from honeyguide.diagnostics.run import write_report
from honeyguide.diagnostics.sections import SECTIONS
from honeyguide.diagnostics.sources import Sources
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import read_scores
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from tests.diagnostics.conftest import SETTINGS, Looked
from tests.planted import ROW_TRUTHS, write_row_inputs


@pytest.fixture(scope="module")
def tagger(tmp_path_factory) -> Looked:
    """A look at a small tagger."""
    folder = tmp_path_factory.mktemp("tagger")
    build = functools.partial(models.build, models.parse({"family": "DeepJet", "hidden": [16, 8]}))
    inputs = write_row_inputs(folder / "inputs", num_train=900, num_validation=300, num_test=600)
    (folder / "training").mkdir()
    settings = TrainingSettings(epochs=3, batch_size=50, learning_rate=3e-3, tensorboard=False, num_threads=1)
    train(inputs, folder / "training", build_model=build, settings=settings, seed=1, provenance={})
    scores = {}
    for sample, path in list_inputs(inputs, "test").items():
        (folder / sample).mkdir()
        chosen = InferenceSettings(num_threads=1, root=False, device="cpu")
        infer(folder / "training", path, folder / sample, build_model=build, settings=chosen)
        scores[sample] = folder / sample / "scores.h5"
    sources = Sources(folder / "training", inputs, scores, {}, label="tagger, seed1")
    quick = SETTINGS.model_copy(update={"projections": ("pca",)})
    context = make_context(sources, build_model=build, settings=quick, device=torch.device("cpu"))
    return Looked(sources, build, context, {section.name: section for section in (make(context) for make in SECTIONS)})


def test_sections_that_make_no_sense_say_so(tagger):
    not_made = {name for name, section in tagger.sections.items() if "not_made" in section.data}
    assert not_made == {"sigma", "reconstruction", "signal_points", "resources"}
    assert "no anomaly detector" in tagger.sections["signal_points"].text
    assert "scores" not in tagger.sections  # their place has the section of the classes
    assert all(tagger.sections[name].plots == () for name in not_made)


def test_the_page_is_written(tagger, tmp_path):
    sections = [dataclasses.replace(section, plots=section.plots[:1]) for section in tagger.sections.values()]
    write_report(sections, tmp_path, label="tagger")
    assert "Confusion matrix" in (tmp_path / "index.html").read_text()
    assert json.loads((tmp_path / "diagnostics.json").read_text())["sections"]["classes"]["data"]["confusion"]


def test_the_confusion_matrix_is_that_of_the_scores(tagger):
    samples = [read_scores(path) for path in tagger.sources.scores.values()]
    truth = np.concatenate([sample.truth for sample in samples])
    columns = [np.concatenate([sample.scores[f"prob_{name}"] for sample in samples]) for name in ROW_TRUTHS]
    expected = confusion_matrix(truth, np.argmax(columns, axis=0), normalize="true")
    found = tagger.sections["classes"].data["confusion"]["fractions"]
    for row, name in enumerate(ROW_TRUTHS):
        for column, other in enumerate(ROW_TRUTHS):
            assert found[name][other]["efficiency"] == pytest.approx(expected[row, column])
    assert {plot.name for plot in tagger.sections["classes"].plots} == {
        "classes_confusion", "classes_b", "classes_c", "classes_light",
    }  # fmt: skip


def test_latents_are_coloured_by_truth(tagger):
    groups = tagger.sections["projections"].data["groups"]
    assert set(groups) == {f"{split} {name}" for split in ("train", "test") for name in ROW_TRUTHS}
    titles = [plot.title for plot in tagger.sections["projections"].plots]
    assert all(title.endswith("by truth") for title in titles)
    assert set(tagger.sections["activations"].data["network.dense.0.linear"]["mean"]) == set(ROW_TRUTHS)


def test_the_quality_is_that_of_every_set(tagger):
    data, inputs = tagger.sections["quality"].data, tagger.sources.inputs
    source = ModelInputs.open(list_inputs(inputs, "train")["qcd"])
    (sample,) = [item for item in data["samples"] if (item["sample"], item["split"]) == ("qcd", "train")]
    assert list(sample["lowest"]) == list(column_names(read_spec(inputs)))
    npf = source.sets["npf"]
    assert sample["highest"]["npf npf1"] == npf.features[..., 1][npf.mask].max()
    assert sample["lowest"]["event global0"] == source.event[:, 0].min()
    slots = sum(item.mask.size for item in source.sets.values())
    assert sample["padding"] == pytest.approx(1 - sum(item.mask.sum() for item in source.sets.values()) / slots)
    empty = ~np.concatenate([item.mask for item in source.sets.values()], axis=1).any(1)
    assert sample["without_objects"] == empty.sum() > 0
    pairs = {(item["first"], item["second"]) for item in data["drift"]["truths"]}
    assert pairs == {("b", "c"), ("b", "light"), ("c", "light")}
    # vertices are the more frequent the heavier the truth
    (heavy,) = [item for item in data["drift"]["truths"] if (item["first"], item["second"]) == ("b", "light")]
    assert heavy["features"]["sv number of objects"]["differs"]


def test_a_row_that_leaks_is_found_whichever_set_is_its_own(tagger, tmp_path):
    inputs = write_row_inputs(tmp_path / "inputs", num_train=90, num_validation=0, num_test=90)
    spec = read_spec(inputs)
    assert num_leaked(take_census(inputs, spec)) == 0
    train_file, test_file = (list_inputs(inputs, split)["ttbar"] for split in ("train", "test"))
    test_file.write_bytes(train_file.read_bytes())
    filled = np.concatenate([item.mask for item in ModelInputs.open(train_file).sets.values()], axis=1).any(1)
    assert num_leaked(take_census(inputs, spec)) == filled.sum()
    # the same but for one number of one set: another row
    source = ModelInputs.open(train_file)
    value = source.sets["sv"].features[source.sets["sv"].mask][0]
    test_file.write_bytes(train_file.read_bytes().replace(value.tobytes(), (value + 1).tobytes()))
    assert num_leaked(take_census(inputs, spec)) == filled.sum() - 1


def test_features_of_rows_are_those_of_every_set(tagger):
    events = tagger.context.inspected.events
    features = event_features(events)
    cpf = events.inputs.sets["cpf"]
    row = int(np.flatnonzero(cpf.mask.sum(1) > 1)[0])
    assert features["cpf cpf0, leading"][row] == cpf.features[row, 0, 0]
    assert features["cpf cpf0, mean"][row] == pytest.approx(cpf.features[row, cpf.mask[row], 0].mean())
    assert features["cpf number of objects"][row] == cpf.mask[row].sum()
    np.testing.assert_array_equal(features["event global1"], events.inputs.event[:, 1].astype(np.float64))


def test_layers_of_objects_are_looked_at_event_by_event(tagger):
    """Inside of them rows are objects: as many as there are, of any event."""
    events, model = tagger.context.inspected.events, tagger.context.model
    found = {
        layer.name: layer
        for layer in map_activations(model, events, events.groups(), batch_size=7, device=torch.device("cpu"))
    }
    assert not [name for name in found if ".layers." in name or ".recurrent." in name]
    item = events.inputs.sets["npf"]
    with torch.inference_mode():
        outputs = model.network.readers[1].layers(torch.from_numpy(item.features), torch.from_numpy(item.mask))
    for number, rows in enumerate(events.groups().values()):
        expected = outputs[torch.from_numpy(rows)].mean((0, 1)).numpy()
        np.testing.assert_allclose(found["network.readers.1.layers"].mean[number], expected, rtol=1e-4, atol=1e-6)
