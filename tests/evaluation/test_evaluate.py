"""Score files to roc.json, roc.h5 and figures: per signal point and merged, seeds, generators in their own units."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.run import ALL_SIGNALS, compute, evaluate
from honeyguide.evaluation.settings import RocSettings
from honeyguide.io.scores import ScoresWriter

GENERATORS = ("pythia", "sherpa")
POINTS = ("mass=2000,r_inv=0.3", "mass=500,r_inv=0.3")


def write_sample(  # noqa: PLR0913 (a sample has that many properties)
    folder, *, mean, seed, generator=0, point=None, size=2000, scale=1.0, total=None
):
    """A sample whose score ``total`` is Gaussian with the given mean, ``kl`` knows nothing."""
    spec = InputSpec(
        level="event",
        shape=(1,),
        columns=(Column(name="met", feature="met", kind="continuous"),),
        processes=("qcd",),
        generators=GENERATORS,
        signal_points=POINTS,
    )
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    truth = {
        "event_id": np.arange(size) + (seed << 24),
        "weight": np.full(size, scale),
        "label": np.full(size, int(point is not None)),
        "process": np.zeros(size, int),
        "generator": np.full(size, generator),
        "signal_point": np.full(size, -1 if point is None else point),
    }
    scores = {"total": rng.normal(mean, 1, size) if total is None else total, "kl": rng.normal(0, 1, size)}
    with ScoresWriter(folder, num_events=size, score_names=list(scores), latent_dim=1, spec=spec, root=False) as writer:
        writer.append(truth, scores, np.zeros((size, 1)))
    return folder / "scores.h5"


def training(folder, *, gain=1.0, seed=0):
    return {
        "pythia": write_sample(folder / "pythia", mean=0, seed=seed + 1, scale=1e-8),
        "sherpa": write_sample(folder / "sherpa", mean=0, seed=seed + 2, generator=1, scale=1e6),
        "heavy": write_sample(folder / "heavy", mean=2 * gain, seed=seed + 3, point=0, size=1500),
        "light": write_sample(folder / "light", mean=1 * gain, seed=seed + 4, point=1, size=1000),
    }


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """One training, evaluated with the default settings."""
    folder = tmp_path_factory.mktemp("evaluated")
    out = folder / "out"
    out.mkdir()
    evaluate({"vae": [training(folder)]}, out, settings=RocSettings())
    return out


def test_numbers_per_signal_point_and_merged_follow_the_closed_form(evaluated):
    content = json.loads((evaluated / "roc.json").read_text())
    curves = {entry["signal"]: entry for entry in content["curves"] if entry["score"] == "total"}
    assert list(curves) == [POINTS[1], POINTS[0], ALL_SIGNALS]  # by mass as a number, not as text
    light, heavy = norm.cdf(1 / np.sqrt(2)), norm.cdf(2 / np.sqrt(2))
    for signal, expected in ((POINTS[1], light), (POINTS[0], heavy), (ALL_SIGNALS, (light + heavy) / 2)):
        auc = curves[signal]["auc"]
        assert abs(auc["value"] - expected) < 4 * auc["error"]
        assert auc["low"] < auc["value"] < auc["high"]
        point = curves[signal]["signal_efficiencies"][-1]
        assert point["target_background_efficiency"] == 0.1
        assert point["low"] < point["signal_efficiency"] < point["high"]
        assert curves[signal]["signal_efficiencies"][0]["signal_efficiency"] is None  # 4000 events do not carry 1e-4
    assert curves[POINTS[0]]["num_signal"] == 1500
    # both generators count: the sherpa weights, 14 decades larger, do not drown the pythia events
    assert curves[POINTS[0]]["effective_background"] == pytest.approx(4000)
    assert content["events"]["vae"][0]["background: sherpa"]["sum_of_weights"] == pytest.approx(2e9)


def test_without_balance_the_generator_with_large_units_is_all_there_is(tmp_path):
    evaluation = compute({"vae": [training(tmp_path)]}, settings=RocSettings(scores=("total",), balance="none"))
    assert evaluation.entries[0].result.effective_background == pytest.approx(2000)
    unweighted = compute(
        {"vae": [training(tmp_path / "b")]}, settings=RocSettings(scores=("total",), balance="none", weighted=False)
    )
    assert unweighted.entries[0].result.effective_background == pytest.approx(4000)


def test_stored_curves_give_the_numbers_again(evaluated):
    content = json.loads((evaluated / "roc.json").read_text())
    assert {entry["score"] for entry in content["curves"]} == {"total", "kl"}
    with h5py.File(evaluated / "roc.h5") as file:
        for entry in content["curves"]:
            group = file[entry["curve"]]
            assert (group.attrs["signal"], group.attrs["score"]) == (entry["signal"], entry["score"])
            b, s = group["background_efficiency"][()], group["signal_efficiency"][()]
            assert np.trapezoid(s, b) == pytest.approx(entry["auc"]["value"], abs=2e-3)
            assert len(b) <= 2010
            for point in entry["signal_efficiencies"]:
                if point["signal_efficiency"] is not None:
                    at = np.flatnonzero(group["threshold"][()] == point["threshold"])
                    assert s[at] == pytest.approx([point["signal_efficiency"]])
            assert np.all(group["signal_efficiency_low"][()] <= group["signal_efficiency_high"][()])
        shown = file["distributions/0000"]
        np.testing.assert_allclose(shown["fractions"][()].sum(1), 1)


def test_seeds_have_mean_and_spread_and_trainings_are_overlaid(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    trainings = {
        "vae": [training(tmp_path / "a", seed=0), training(tmp_path / "b", seed=100)],
        "flow / v2": [training(tmp_path / "c", seed=200, gain=1.3)],
    }
    for seeds in trainings.values():
        for samples in seeds:
            del samples["light"]
    evaluate(trainings, out, settings=RocSettings(scores=("total",)))
    content = json.loads((out / "roc.json").read_text())
    values = [e["auc"]["value"] for e in content["curves"] if (e["training"], e["signal"]) == ("vae", POINTS[0])]
    (summary,) = [e for e in content["seeds"] if (e["training"], e["signal"]) == ("vae", POINTS[0])]
    assert summary["num_seeds"] == 2
    assert summary["auc"]["mean"] == pytest.approx(np.mean(values))
    assert summary["auc"]["spread"] == pytest.approx(np.std(values, ddof=1))
    names = {path.name for path in out.iterdir()}
    expected = {
        "roc.json",
        "roc.h5",
        *(
            f"{kind}_{name}_total.{end}"
            for kind in ("roc", "sic", "scores")
            for name in ("vae", "flow-v2")
            for end in ("png", "pdf")
        ),
        *(
            f"overlay_{kind}_total_{signal}.{end}"
            for kind in ("roc", "sic")
            for signal in (POINTS[0],)
            for end in ("png", "pdf")
        ),
    }
    assert names == expected


def test_curves_carry_the_seeds_that_were_trained(tmp_path):
    samples = [training(tmp_path / "a", seed=0), training(tmp_path / "b", seed=100)]
    settings = RocSettings(scores=("total",))
    named = compute({"vae": {7: samples[0], 3: samples[1]}}, settings=settings)
    in_a_row = compute({"vae": samples}, settings=settings)
    assert [entry.seed for entry in named.select(score="total", signal=POINTS[0])] == [7, 3]
    assert [e.result.auc for e in named.entries] == [e.result.auc for e in in_a_row.entries]
    assert list(named.distributions) == [("vae", "total")]
    assert named.distributions["vae", "total"].edges.tolist() == in_a_row.distributions["vae", "total"].edges.tolist()


def test_the_same_input_gives_the_same_bytes(tmp_path):
    samples = training(tmp_path)
    del samples["light"]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        evaluate({"vae": [samples]}, tmp_path / name, settings=RocSettings(scores=("total",)))
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    curves = json.loads((tmp_path / "one" / "roc.json").read_text())["curves"]
    assert [entry["signal"] for entry in curves] == [POINTS[0]]  # one point: nothing to merge


def test_infinite_scores_are_evaluated_and_drawn(tmp_path):
    total = np.random.default_rng(0).normal(1, 1, 500)
    total[:50] = np.inf
    samples = {
        "pythia": write_sample(tmp_path / "b", mean=0, seed=1),
        "heavy": write_sample(tmp_path / "s", mean=0, seed=2, point=0, size=500, total=total),
    }
    out = tmp_path / "out"
    out.mkdir()
    evaluate({"vae": [samples]}, out, settings=RocSettings(scores=("total",)))
    (entry,) = json.loads((out / "roc.json").read_text())["curves"]
    assert 0.7 < entry["auc"]["value"] < 0.85


def test_a_handful_of_events_gives_an_auc_and_nothing_that_they_do_not_carry(tmp_path):
    samples = {
        "pythia": write_sample(tmp_path / "b", mean=0, seed=1, size=4),
        "heavy": write_sample(tmp_path / "s", mean=3, seed=2, point=0, size=3),
    }
    out = tmp_path / "out"
    out.mkdir()
    evaluate({"vae": [samples]}, out, settings=RocSettings(scores=("total",)))
    (entry,) = json.loads((out / "roc.json").read_text())["curves"]
    assert entry["auc"]["low"] < entry["auc"]["high"]
    assert entry["max_significance_improvement"]["value"] is None
    assert all(point["signal_efficiency"] is None for point in entry["signal_efficiencies"])
    assert (out / "sic_vae_total.png").stat().st_size > 0


def bad_nan(folder):
    return {
        "a": write_sample(folder / "b", mean=0, seed=1),
        "s": write_sample(folder / "s", mean=0, seed=2, point=0, total=np.full(2000, np.nan)),
    }


def bad_twice(folder):
    return {"a": write_sample(folder / "b", mean=0, seed=1), "s": write_sample(folder / "s", mean=0, seed=1, point=0)}


def bad_no_signal(folder):
    return {"a": write_sample(folder / "b", mean=0, seed=1)}


def bad_no_background(folder):
    return {"s": write_sample(folder / "s", mean=0, seed=2, point=0)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bad_nan, "2000 of 2000 scores of the signal are NaN"),
        (bad_twice, "2000 events are scored twice(.|\n)*sample 'a' and in sample 's'"),
        (bad_no_signal, "needs signal events"),
        (bad_no_background, "needs background events"),
    ],
)
def test_bad_samples_are_data_errors(tmp_path: Path, make, message):
    with pytest.raises(DataError, match=message):
        compute({"vae": [make(tmp_path)]}, settings=RocSettings(scores=("total",)))


def test_an_unknown_score_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="nearest: total"):
        compute({"vae": [training(tmp_path)]}, settings=RocSettings(scores=("totl",)))
    with pytest.raises(ConfigError, match="no training"):
        compute({}, settings=RocSettings())
