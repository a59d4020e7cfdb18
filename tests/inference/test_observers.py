"""What no model sees of rows comes through an inference as it was."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import uproot

import models
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import read_scores
from honeyguide.training.weights import save_weights, write_description
from tests.planted import make_row_spec, make_rows


def test_observers_of_rows_are_beside_their_scores_in_both_files(tmp_path: Path) -> None:
    spec = make_row_spec().model_copy(update={"observers": ("mass", "tau32")})
    write_spec(tmp_path, spec)
    observers = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    with ModelInputsWriter(tmp_path / "qcd" / "test.h5", num_events=50, spec=spec) as writer:
        writer.append({**make_rows(50, first_id=7), "observers": observers})
    config = models.parse({"family": "tagger", "network": "mlp", "hidden": [4]})
    model = models.build(config, spec)
    save_weights(model.state_dict(), tmp_path / "best.safetensors")
    write_description(model, tmp_path)
    build, settings = functools.partial(models.build, config), InferenceSettings(batch_size=16, num_threads=1)
    infer(tmp_path, tmp_path / "qcd" / "test.h5", tmp_path, build_model=build, settings=settings)
    found = read_scores(tmp_path / "scores.h5").observers
    assert list(found) == ["mass", "tau32"]
    with uproot.open(tmp_path / "scores.root") as file:
        for column, name in enumerate(found):
            np.testing.assert_array_equal(found[name], observers[:, column])
            branch = file["events"][f"observer_{name}"].array(library="np")
            np.testing.assert_array_equal(branch, observers[:, column])
