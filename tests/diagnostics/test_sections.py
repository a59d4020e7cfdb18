"""Sections say what is wrong, and say so only then."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch

import models
from honeyguide.data.splits import SPLITS
from honeyguide.diagnostics import latent, projections, sigma, training
from honeyguide.diagnostics.context import group_colours, make_context
from honeyguide.diagnostics.inspected import Inspected, read_events
from honeyguide.diagnostics.sections import SECTIONS
from tests.diagnostics.conftest import SETTINGS, train_small
from tests.planted import make_spec


def record(epoch: int, train: float, validation: float) -> dict:
    return {"epoch": epoch, "train": {"total": train}, "validation": {"total": validation}}


def metrics(train: list[float], validation: list[float]) -> dict:
    epochs = [record(i, *losses) for i, losses in enumerate(zip(train, validation, strict=True))]
    return {"epochs": epochs, "best_epoch": int(np.argmin(validation)), "monitored": "validation"}


def test_over_training_is_told_from_a_sound_training() -> None:
    (warning,) = training.warnings(metrics([10, 5, 3, 1], [10, 6, 7, 8]))
    assert warning.startswith("Over-training: since epoch 2 the validation total has risen by 2 ")
    assert training.warnings(metrics([10, 5, 4, 3.9], [10, 6, 5, 5.1])) == ()
    # a loss that rises for both has another reason
    assert training.warnings(metrics([10, 5, 6, 9], [10, 6, 7, 9])) == ()


def test_epochs_that_are_not_finite_are_named() -> None:
    (warning,) = training.warnings(metrics([10, np.nan, np.nan], [10, 9, np.inf]))
    assert "2 of 3 epochs, first in epoch 2" in warning


def test_training_section_holds_every_number_of_every_epoch(looked) -> None:
    section, recorded = looked.sections["training"], looked.context.metrics
    assert section.data["epochs"] == recorded["epochs"]
    assert section.data["best_epoch"] == recorded["best_epoch"]
    names = {plot.name for plot in section.plots}
    terms = {f"training_{term}" for term in ("total", "reconstruction", "kl", "flow")}
    assert names == terms | {f"training_{name}" for name in ("learning_rate", "gradient_norm", "weights", "rate")}
    (table,) = section.tables
    best = recorded["epochs"][recorded["best_epoch"]]
    row = dict(zip(table.columns, next(row for row in table.rows if row[0] == "kl"), strict=True))
    assert row["train, best"] == best["train"]["kl"]
    assert row["validation, best"] == best["validation"]["kl"]


def test_collapsed_posterior_is_called_so(tmp_path) -> None:
    sources, build = train_small(tmp_path, terms={"kl": 100.0}, hidden=[8])
    context = make_context(sources, build_model=build, settings=SETTINGS, device=torch.device("cpu"))
    section = latent.section(context)
    assert section.warnings == (
        "Posterior collapse: no latent dimension is active, the latents do not depend on the event.",
    )
    assert section.data["trained"]["num_active"] == 0
    assert np.max(section.data["trained"]["kl"]) < 0.05


def test_partly_collapsed_posterior_names_the_dimensions(looked) -> None:
    seen = {name: np.array(values) for name, values in looked.context.inspected.trained.items()}
    rng = np.random.default_rng(1)
    seen["mean"] = rng.normal(size=seen["mean"].shape).astype(np.float32)
    seen["mean"][:, [1, 3]] *= 1e-3
    inspected = dataclasses.replace(looked.context.inspected, trained=seen)
    section = latent.section(dataclasses.replace(looked.context, inspected=inspected))
    assert section.warnings == ("Posterior collapse: 2 of 4 latent dimensions are not active (2, 4).",)
    assert section.text.startswith("2 of 4 latent dimensions are active")


def test_latents_that_are_not_finite_are_a_warning_and_are_left_out(looked) -> None:
    seen = {name: np.array(values) for name, values in looked.context.inspected.trained.items()}
    seen["mean"][:3] = np.nan
    context = dataclasses.replace(looked.context, inspected=dataclasses.replace(looked.context.inspected, trained=seen))
    section = latent.section(context)
    assert section.warnings[0].startswith("The latents of 3 of ")
    assert np.isfinite(section.data["trained"]["variance"]).all()
    assert projections.section(context).data["num_events"] > 100


def test_every_representation_is_mapped_by_every_method(looked) -> None:
    section = looked.sections["projections"]
    views = [(view["weights"], view["key"]) for view in section.data["views"]]
    assert views == [("trained", "start"), ("trained", "latent_draw"), ("trained", "mean"), ("initial", "latent_draw")]
    expected = {
        f"projection_{method}_{weights}_{key}_{split}"
        for method in ("pca", "tsne")
        for weights, key in views
        for split in ("train", "test")
    }
    assert {plot.name for plot in section.plots} == expected
    counts = section.data["groups"]
    assert max(counts.values()) - min(counts.values()) == 0
    assert set(counts) == {"train pythia", "train herwig", "test pythia", "test herwig", "test mass=3500"}


def test_sigma_is_that_of_the_model(looked) -> None:
    section, inspected = looked.sections["sigma"], looked.context.inspected
    events = inspected.events
    rows = events.in_split("test") & (events.inputs.label == 1)
    expected = inspected.trained["sigma"][rows].mean(axis=1)
    assert section.data["test"]["mass=3500"]["mean"] == pytest.approx(expected.mean())
    assert section.data["test"]["mass=3500"]["num_events"] == rows.sum()
    assert set(section.data["train"]) == {"pythia", "herwig"}


def test_plain_autoencoder_says_why_it_has_no_sigma(tmp_path) -> None:
    sources, build = train_small(tmp_path, posterior="none", latent_dim=1)
    context = make_context(sources, build_model=build, settings=SETTINGS, device=torch.device("cpu"))
    for module, why in ((sigma, "has no posterior"), (projections, "has one dimension")):
        section = module.section(context)
        assert section.plots == ()
        assert section.text.startswith("Not made: ")
        assert why in section.text
        assert why in section.data["not_made"]
    assert latent.section(context).data["trained"]["kl"] is None


def test_names_of_sections_and_plots_are_their_own(looked) -> None:
    assert len(looked.sections) == len(SECTIONS)
    names = [plot.name for section in looked.sections.values() for plot in section.plots]
    assert len(names) == len(set(names))
    for section in looked.sections.values():
        assert section.text
        assert all(plot.title and plot.caption.endswith(".") for plot in section.plots)


def test_subsample_is_seeded_and_holds_what_it_should(looked) -> None:
    folder, spec = looked.sources.inputs, looked.context.inspected.events.spec
    events, again, other = (read_events(folder, spec, max_events=150, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(events.inputs.event_id, again.inputs.event_id)
    assert not np.array_equal(events.inputs.event_id, other.inputs.event_id)
    assert len(np.unique(events.inputs.event_id)) == len(events)
    for sample in events.samples:
        for split in SPLITS:
            assert (events.of_sample(sample) & events.in_split(split)).sum() <= 150
    groups = events.generators() | events.signals()
    assert np.sum(list(groups.values()), axis=0).tolist() == [1] * len(events)
    assert set(events.signals()) == {"mass=3500"}
    assert (events.sample[groups["herwig"]] == events.samples.index("qcd_herwig")).all()


def test_trained_and_untrained_views_are_those_of_the_weights(looked) -> None:
    inspected: Inspected = looked.context.inspected
    assert not np.allclose(inspected.trained["mean"], inspected.initial["mean"])
    untrained = functools.partial(models.build, looked.build.args[0])(inspected.events.spec)
    assert set(inspected.trained) == set(inspected.initial)
    assert inspected.trained["mean"].shape == (len(inspected.events), untrained.config.latent_dim)


def test_groups_have_colours_of_their_own() -> None:
    colours = group_colours(make_spec())
    assert set(colours) == {"qcd", "svj", "pythia", "herwig", "mass=3500"}
    assert len(set(colours.values())) == 5
