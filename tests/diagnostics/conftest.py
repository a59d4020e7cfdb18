"""A small training with scores, looked at once."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import models
from honeyguide.diagnostics.context import Context, make_context
from honeyguide.diagnostics.run import write_report
from honeyguide.diagnostics.section import Section
from honeyguide.diagnostics.sections import SECTIONS
from honeyguide.diagnostics.settings import DiagnosticsSettings
from honeyguide.diagnostics.sources import Sources
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from tests.planted import write_inputs

SETTINGS = DiagnosticsSettings(max_events=400, projection_events=200, num_threads=1, device="cpu")


@dataclass(frozen=True)
class Looked:
    """A training and what is seen in it.

    Attributes:
        sources: Its files.
        build: Makes its model.
        context: What the sections are given.
        sections: All of them, by name.
    """

    sources: Sources
    build: functools.partial
    context: Context
    sections: dict[str, Section]


def train_small(folder: Path, **model) -> tuple[Sources, functools.partial]:
    """Returns the sources of a training on planted events, with the scores of its test events."""
    config = {"family": "vae", "hidden": [16], "latent_dim": 4, **model}
    build = functools.partial(models.build, models.parse(config))
    inputs = write_inputs(folder / "inputs", num_train=600, num_validation=300, num_test=450)
    (folder / "training").mkdir()
    settings = TrainingSettings(epochs=3, batch_size=50, learning_rate=3e-3, tensorboard=False, num_threads=1)
    train(inputs, folder / "training", build_model=build, settings=settings, seed=1, provenance={})
    scores = {}
    for sample in ("qcd_pythia", "qcd_herwig", "svj"):
        (folder / "scores" / sample).mkdir(parents=True)
        infer(
            folder / "training",
            inputs / sample / "test.h5",
            folder / "scores" / sample,
            build_model=build,
            settings=InferenceSettings(num_threads=1, root=False, device="cpu"),
        )
        scores[sample] = folder / "scores" / sample / "scores.h5"
    return Sources(folder / "training", inputs, scores, {}, label="small <training>, seed1"), build


@pytest.fixture(scope="session")
def looked(tmp_path_factory) -> Looked:
    """A look at a variational autoencoder with a flow."""
    sources, build = train_small(tmp_path_factory.mktemp("diagnostics"), flow="planar")
    context = make_context(sources, build_model=build, settings=SETTINGS, device=torch.device("cpu"))
    return Looked(sources, build, context, {section.name: section for section in (make(context) for make in SECTIONS)})


@pytest.fixture(scope="session")
def page(looked: Looked, tmp_path_factory) -> Path:
    """The folder of its page, with one figure of each section: drawing all takes most of the time."""
    folder = tmp_path_factory.mktemp("page")
    sections = [dataclasses.replace(section, plots=section.plots[:1]) for section in looked.sections.values()]
    write_report(sections, folder, label=looked.sources.label)
    return folder
