"""The enrichment study: how well generators are told apart, and the table over variants and seeds."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.enrichment import compare_variants, generator_auc, summary
from honeyguide.evaluation.enrichment_settings import EnrichmentSettings
from honeyguide.evaluation.settings import RocSettings
from honeyguide.io.scores import ScoresWriter

ROC = RocSettings(scores=("total",))


def gaussian_latents(distance, size, seed, num_generators=2):
    rng = np.random.default_rng(seed)
    generator = np.arange(size) % num_generators
    latent = rng.normal(size=(size, 3))
    latent[:, 1] += distance * generator
    return latent, generator


def test_generators_with_the_same_latents_can_not_be_told_apart():
    told = generator_auc(*gaussian_latents(0.0, 1500, 1), parts=3, seed=1)
    assert abs(told.value - 0.5) < 4 * told.error
    assert 0.01 < told.error < 0.03  # Mann-Whitney of two times 750 events: 0.015


def test_generators_at_a_distance_are_told_apart_as_well_as_that_allows():
    told = generator_auc(*gaussian_latents(2.0, 3000, 2), parts=3, seed=1)
    best = norm.cdf(2 / np.sqrt(2))
    assert best - 0.03 < told.value < best + 3 * told.error


def test_of_three_generators_the_mean_over_pairs_counts():
    latent, generator = gaussian_latents(0.0, 1800, 3, num_generators=3)
    latent[generator == 2] += 20  # so far off that its two pairs have 1
    told = generator_auc(latent, generator, parts=3, seed=1)
    assert told.value == pytest.approx((0.5 + 1 + 1) / 3, abs=0.02)


def test_one_generator_is_an_error():
    latent, generator = gaussian_latents(0.0, 100, 4)
    with pytest.raises(DataError, match="two of them"):
        generator_auc(latent, 0 * generator, parts=5, seed=1)


def write_training(folder, *, seed, distance, loss, mean=1.0, reconstruction=True, size=250):
    """Scores of two generators whose latents are ``distance`` apart, and of a signal whose score is ``mean`` higher."""
    spec = InputSpec(
        level="event",
        shape=(1,),
        columns=(Column(name="met", feature="met", kind="continuous"),),
        processes=("qcd", "svj"),
        generators=("a", "b"),
        signal_points=("mass=3000",),
    )
    rng = np.random.default_rng(seed)
    files = {}
    for number, (name, generator, signal) in enumerate((("qcd_a", 0, False), ("qcd_b", 1, False), ("svj", 0, True))):
        (folder / name).mkdir(parents=True)
        truth = {
            "event_id": np.arange(size) + 10_000 * number,
            "weight": np.ones(size),
            "label": np.full(size, int(signal)),
            "process": np.full(size, int(signal)),
            "generator": np.full(size, generator),
            "signal_point": np.full(size, 0 if signal else -1),
        }
        scores = {"total": rng.normal(mean * signal, 1, size)}
        if reconstruction:
            scores["reconstruction"] = np.full(size, loss + generator)
        latent = rng.normal(size=(size, 2)) + distance * generator
        with ScoresWriter(
            folder / name, num_events=size, score_names=list(scores), latent_dim=2, spec=spec, root=False
        ) as writer:
            writer.append(truth, scores, latent)
        files[name] = folder / name / "scores.h5"
    return files


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two variants with three seeds each: the second is blind to the generator, and reconstructs as well."""
    folder = tmp_path_factory.mktemp("study")
    trainings = {
        variant: {
            seed: write_training(
                folder / variant / str(seed), seed=10 * seed, distance=distance, loss=2.0 + shift * seed, mean=mean
            )
            for seed in (1, 2, 3)
        }
        for variant, distance, shift, mean in (("plain", 2.0, 0.0, 1.0), ("blind", 0.0, 0.1, 1.5))
    }
    out = folder / "out"
    out.mkdir()
    return compare_variants(trainings, out, settings=EnrichmentSettings(classifier_parts=2), roc=ROC), out


def row_of(rows, variant, quantity):
    (row,) = (row for row in rows if (row.variant, row.quantity) == (variant, quantity))
    return row


def test_the_blind_variant_is_seen_to_be_blind(study):
    rows, _ = study
    plain, blind = (row_of(rows, variant, "generator AUC") for variant in ("plain", "blind"))
    assert plain.mean == pytest.approx(norm.cdf(2 * np.sqrt(2) / np.sqrt(2)), abs=0.02)
    assert abs(blind.mean - 0.5) < 4 * blind.test_error
    assert blind.difference == pytest.approx(blind.mean - plain.mean)
    assert blind.difference < -5 * blind.difference_error
    assert plain.difference is None


def test_numbers_over_seeds_follow_the_closed_form(study):
    rows, _ = study
    plain, blind = (row_of(rows, variant, "reconstruction") for variant in ("plain", "blind"))
    assert (plain.num_seeds, plain.mean, plain.error) == (3, 2.5, 0.0)  # (2 + 3) / 2, at every seed
    # shifts of 0.1, 0.2, 0.3: their standard deviation is 0.1
    assert blind.mean == pytest.approx(2.7)
    assert blind.error == blind.difference_error == pytest.approx(0.1 / np.sqrt(3))
    assert blind.difference == pytest.approx(0.2)


def test_auc_of_the_signal_follows_the_closed_form_and_its_difference_is_paired(study):
    rows, _ = study
    plain, blind = (row_of(rows, variant, "AUC") for variant in ("plain", "blind"))
    assert (plain.score, plain.signal) == ("total", "mass=3000")
    assert abs(plain.mean - norm.cdf(1 / np.sqrt(2))) < 3 * plain.test_error
    assert abs(blind.mean - norm.cdf(1.5 / np.sqrt(2))) < 3 * blind.test_error
    # the same random numbers in both variants: the difference is known better than each of the two
    assert blind.difference_error < 0.5 * plain.test_error


def test_files_hold_the_rows_and_figures_are_drawn(study):
    rows, out = study
    content = json.loads((out / "enrichment.json").read_text())
    assert content["rows"] == [vars(row) for row in rows]
    with (out / "enrichment.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(line["mean"]) for line in table] == [row.mean for row in rows]
    for name in ("enrichment_latent", "enrichment_auc_total"):
        for suffix in ("png", "pdf"):
            assert (out / f"{name}.{suffix}").stat().st_size > 5000


def test_summary_has_a_line_per_variant_and_a_column_per_number(study):
    rows, _ = study
    head, _, plain, blind = summary(rows, score="total").splitlines()
    assert head == "| variant | generator AUC | reconstruction | AUC mass=3000 |"
    assert plain.startswith("| plain | 0.9")
    assert "| 2.700 ± 0.058 |" in blind


def test_variants_with_different_seeds_can_not_be_compared(tmp_path):
    with pytest.raises(ConfigError, match="differ in their seeds"):
        compare_variants({"a": {1: {}}, "b": {2: {}}}, tmp_path, settings=EnrichmentSettings(), roc=ROC)


def test_one_variant_is_no_comparison(tmp_path):
    with pytest.raises(ConfigError, match="fewer than two"):
        compare_variants({"a": {1: {}}}, tmp_path, settings=EnrichmentSettings(), roc=ROC)


def test_a_model_without_reconstruction_is_named(tmp_path):
    files = write_training(tmp_path / "a", seed=1, distance=1.0, loss=1.0, reconstruction=False)
    with pytest.raises(DataError, match="there is none"):
        compare_variants({"a": {1: files}, "b": {1: files}}, tmp_path, settings=EnrichmentSettings(), roc=ROC)


def test_a_variant_that_changes_the_dataset_is_refused():
    with pytest.raises(ValueError, match=r"can't change dataset\.samples"):
        EnrichmentSettings(variants={"a": {"dataset.samples": {}}})
