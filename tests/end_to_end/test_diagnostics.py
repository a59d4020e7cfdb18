"""``law run DiagnosticsTask`` makes the whole page, of a plain autoencoder and of BEAD's convolutional one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from honeyguide.io.atomic import verify
from tests.end_to_end.conftest import GENERATED
from tests.law_command import Law

TASK = "tasks.diagnostics.DiagnosticsTask"
FEW = ("--set", "diagnostics.projections=[pca],diagnostics.max_events=150")
BEAD = """
extends: bead
dataset: small_data.yaml
model: {preset: Planar_ConvVAE}
training: {epochs: 1, tensorboard: false}
"""


@pytest.fixture(scope="module")
def law(generated: Law, tmp_path_factory: pytest.TempPathFactory) -> Law:
    """A store of its own with the small dataset simulated."""
    law = Law(tmp_path_factory.mktemp("diagnostics"))
    shutil.copytree(generated.store / "GenerateEventsTask", law.store / "GenerateEventsTask")
    law.write_config("small", GENERATED)
    (law.folder / "bead_small.yaml").write_text(BEAD)
    return law


def page_of(law: Law, experiment: str) -> Path:
    (folder,) = (law.store / "DiagnosticsTask" / experiment).glob("*/*")
    return folder


def test_page_of_a_plain_autoencoder(law: Law) -> None:
    arguments = (TASK, "--config", str(law.folder / "small.yaml"), "--epochs", "5", *FEW)
    outcome = law(*arguments, fresh=True)
    assert outcome.returncode == 0, outcome.text
    assert {"TrainingTask", "InferenceTask", "DiagnosticsTask"} <= set(outcome.ran)
    folder = page_of(law, "small")
    assert f"{folder}/index.html" in outcome.text
    verify(folder)
    sections = json.loads((folder / "diagnostics.json").read_text())["sections"]
    counted = {(item["sample"], item["split"]): item["events"] for item in sections["quality"]["data"]["samples"]}
    assert sum(counted.values()) == 1200
    assert "no posterior" in sections["sigma"]["data"]["not_made"]
    # what is said at the end is what stands on the page
    for warning in (warning for section in sections.values() for warning in section["warnings"]):
        assert warning in re.sub(r"\s+", " ", outcome.text)
    plots = {file.stem for file in (folder / "plots").glob("*.png")}
    assert plots == {name for section in sections.values() for name in section["plots"]}
    assert law(*arguments).ran == {}


def test_page_of_beads_model_has_every_representation(law: Law) -> None:
    outcome = law(TASK, "--config", str(law.folder / "bead_small.yaml"), *FEW)
    assert outcome.returncode == 0, outcome.text
    folder = page_of(law, "bead_small")
    sections = json.loads((folder / "diagnostics.json").read_text())["sections"]
    assert not any("not_made" in section["data"] for name, section in sections.items() if name != "signal_points")
    assert sections["sigma"]["plots"] == ["sigma_train", "sigma_test"]
    keys = {view["key"] for view in sections["projections"]["data"]["views"]}
    assert keys == {"start", "latent_draw", "mean"}
    assert (folder / "index.html").stat().st_size < 6e6
