"""Taggers from score files to numbers and figures: closed forms, scikit-learn, real jets."""

from __future__ import annotations

import json
from itertools import pairwise

import h5py
import numpy as np
import pytest
import uproot
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.efficiencies import make_jets
from honeyguide.evaluation.tagged_jets import read_tagged_jets
from honeyguide.evaluation.tagging_curves import ALL_PROCESSES, discriminator_curve, in_window
from honeyguide.evaluation.tagging_run import compute_taggers, evaluate_taggers, tagging_summary
from honeyguide.evaluation.tagging_settings import DiscriminatorSettings, TaggingSettings, TaggingWindow
from honeyguide.plotting.tagging_evaluation import distribution_figure
from tests.planted_tagger import CLASSES, planted_probabilities, write_tagger_scores

SIZES = {"b": 3000, "c": 1500, "light": 6000}
WINDOW = TaggingWindow(pt=(50, 200), eta=(0, 1.5))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Two trainings, one of them with two seeds, of two processes: folder of the score files and of the results."""
    folder = tmp_path_factory.mktemp("tagging")
    trainings = {}
    for label, seed, gain in (("deep", 1, 1.0), ("deep", 2, 1.0), ("deeper", 1, 1.5)):
        place, number = folder / label / str(seed), 10 * seed + int(10 * gain)
        trainings.setdefault(label, {})[seed] = {
            "tt": write_tagger_scores(place / "tt", sizes=SIZES, seed=number, gain=gain),
            "qcd": write_tagger_scores(
                place / "qcd", sizes={"b": 300, "light": 3000}, seed=number + 1, gain=gain, process="qcd"
            ),
        }
    out = folder / "out"
    out.mkdir()
    settings = TaggingSettings(discriminators=("BvsL", "CvsB"), windows={"central": WINDOW})
    evaluation = evaluate_taggers(trainings, out, settings=settings)
    return trainings, out, evaluation


def curves_of(out, **wanted):
    entries = json.loads((out / "roc.json").read_text())["curves"]
    return [entry for entry in entries if all(entry[key] == value for key, value in wanted.items())]


def test_curves_of_planted_discriminators_follow_the_closed_form(evaluated):
    _, out, _ = evaluated
    for label, gain in (("deep", 1.0), ("deeper", 1.5)):
        for name, distance in (("BvsL", 2 * gain), ("CvsB", gain)):
            (entry,) = curves_of(
                out, training=label, seed=1, discriminator=name, process=ALL_PROCESSES, window="inclusive"
            )
            assert abs(entry["auc"]["value"] - norm.cdf(distance / np.sqrt(2))) < 4 * entry["auc"]["error"]
            point = entry["signal_efficiencies"][-1]
            assert point["target_background_efficiency"] == 0.1
            expected = norm.cdf(distance + norm.ppf(0.1))
            assert abs(point["signal_efficiency"] - expected) < 4 * (point["high"] - point["low"]) / 2
    assert (entry["signal"], entry["background"]) == (["c"], ["b"])


def test_processes_and_windows_have_the_curves_of_their_jets_alone(evaluated):
    trainings, out, _ = evaluated
    tagged = read_tagged_jets(trainings["deep"][1], weighted=True)
    jets, p = tagged.jets, tagged.probabilities
    value = p[:, CLASSES.index("b")] / (p[:, CLASSES.index("b")] + p[:, CLASSES.index("light")])
    truth = np.array(jets.truths)[jets.truth]
    for process in (ALL_PROCESSES, "ttbar", "qcd"):
        for window in ("inclusive", "central"):
            mask = np.isin(truth, ["b", "light"])
            if process != ALL_PROCESSES:
                mask &= np.array(tagged.processes)[tagged.process] == process
            if window == "central":
                mask &= (jets.pt >= 50) & (jets.pt < 200) & (abs(jets.eta) < 1.5)
            (entry,) = curves_of(out, training="deep", seed=1, discriminator="BvsL", process=process, window=window)
            assert (entry["num_signal"], entry["num_background"]) == (
                int((truth[mask] == "b").sum()),
                int((truth[mask] == "light").sum()),
            )
            assert entry["auc"]["value"] == pytest.approx(roc_auc_score(truth[mask] == "b", value[mask]), rel=1e-9)


def test_a_process_without_signal_says_so_and_the_others_have_their_curves(evaluated):
    _, out, evaluation = evaluated
    entries = curves_of(out, discriminator="CvsB", process="qcd")
    assert len(entries) == 6
    assert {(e["auc"], e["curve"], e["reason"]) for e in entries} == {(None, None, "there are no jets of c")}
    assert not list(out.glob("roc_CvsB_qcd*"))
    lines = tagging_summary(evaluation).splitlines()
    assert sum("±" in line for line in lines) == 3 * 2
    assert sum(line.endswith("none: there are no jets of c") for line in lines) == 6
    assert len(lines) == 1 + 3 * 2 + 6


def test_curves_in_hdf5_are_those_of_the_numbers_and_the_spread_is_over_the_seeds(evaluated):
    _, out, _ = evaluated
    entries = curves_of(out, discriminator="BvsL")
    with h5py.File(out / "roc.h5") as file:
        assert len(file["curves"]) == len([e for e in curves_of(out) if e["curve"]])
        for entry in entries:
            group = file[entry["curve"]]
            assert {k: group.attrs[k] for k in ("training", "seed", "process", "window")} == {
                k: entry[k] for k in ("training", "seed", "process", "window")
            }
            area = np.trapezoid(group["signal_efficiency"][()], group["background_efficiency"][()])
            assert area == pytest.approx(entry["auc"]["value"], abs=2e-3)
            assert np.all(group["signal_efficiency_low"][()] <= group["signal_efficiency_high"][()])
    here = {"training": "deep", "discriminator": "BvsL", "process": ALL_PROCESSES, "window": "inclusive"}
    (over,) = [
        e for e in json.loads((out / "roc.json").read_text())["seeds"] if all(e[k] == v for k, v in here.items())
    ]
    values = [entry["auc"]["value"] for entry in curves_of(out, **here)]
    assert over["num_seeds"] == len(values) == 2
    assert over["auc"]["mean"] == pytest.approx(np.mean(values))
    assert over["auc"]["spread"] == pytest.approx(np.std(values, ddof=1))


def test_figures_are_those_of_all_curves_distributions_and_matrices(evaluated):
    _, out, _ = evaluated
    names = {path.stem for path in out.glob("*.png")}
    assert names == {path.stem for path in out.glob("*.pdf")}
    rocs = {f"roc_BvsL_{p}_{w}" for p in ("all-processes", "ttbar", "qcd") for w in ("inclusive", "central")}
    rocs |= {f"roc_CvsB_{p}_{w}" for p in ("all-processes", "ttbar") for w in ("inclusive", "central")}
    shown = {
        f"distribution_{t}_{d}" for t in ("deep", "deeper") for d in ("prob_b", "prob_c", "prob_light", "BvsL", "CvsB")
    }
    assert names == rocs | shown | {"confusion_deep", "confusion_deeper"}


def test_distributions_of_all_truths_share_one_binning_and_hold_every_jet(evaluated):
    trainings, out, _ = evaluated
    tagged = read_tagged_jets(trainings["deep"][1], weighted=True)
    with h5py.File(out / "roc.h5") as file:
        groups = {(g.attrs["training"], g.attrs["score"]): g for g in file["distributions"].values()}
        shown = groups["deep", "prob_b"]
        edges, truths = shown["edges"][()], json.loads(shown.attrs["truths"])
        np.testing.assert_allclose(edges, np.linspace(0, 1, 51))
        for row, truth in zip(shown["fractions"][()], truths, strict=True):
            mine = tagged.probabilities[tagged.jets.truth == tagged.jets.truths.index(truth), CLASSES.index("b")]
            np.testing.assert_allclose(row, np.histogram(mine, edges)[0] / len(mine), atol=1e-12)
            assert row.sum() == pytest.approx(1)


def test_confusion_counts_the_most_probable_class(evaluated):
    trainings, out, _ = evaluated
    tagged = read_tagged_jets(trainings["deeper"][1], weighted=True)
    matrices = json.loads((out / "confusion.json").read_text())["matrices"]
    assert [(m["training"], m["seed"]) for m in matrices] == [("deep", 1), ("deep", 2), ("deeper", 1)]
    best = np.array(CLASSES)[tagged.probabilities.argmax(1)][tagged.jets.truth == tagged.jets.truths.index("b")]
    for name in CLASSES:
        found = matrices[-1]["fractions"]["b"][name]["efficiency"]
        assert found == pytest.approx(np.mean(best == name))


def one(tmp_path, **options):
    return {"net": {1: {"tt": write_tagger_scores(tmp_path / "tt", **{"sizes": SIZES, **options})}}}


def test_vetoed_truths_and_truths_of_no_class_are_left_out(tmp_path):
    trainings = one(tmp_path, sizes={**SIZES, "tau": 500, "g": 400}, truths=("tau", "g", "b", "c", "light"))
    own = DiscriminatorSettings(numerator=("b",), denominator=("all",), veto=("c",))
    settings = TaggingSettings(discriminators=("mine",), definitions={"mine": own})
    (curve,) = compute_taggers(trainings, settings=settings).curves
    assert (curve.signal, curve.background) == (("b",), ("light",))
    assert (curve.result.num_signal, curve.result.num_background) == (3000, 6000)


def test_classes_of_several_truths_find_all_of_them(tmp_path):
    trainings = one(tmp_path, sizes={"b": 1000, "uds": 2000, "g": 500, "c": 300}, truths=("g", "b", "c", "uds"))
    members = {"net": {"light": ("uds", "g"), "b": ("b",), "c": ("c",)}}
    settings = TaggingSettings(discriminators=("BvsL",), groups={"heavy": ("b", "c")})
    (curve,) = compute_taggers(trainings, settings=settings, members=members).curves
    assert set(curve.background) == {"uds", "g"}
    assert curve.result.num_background == 2500


def test_codes_of_truths_and_processes_count_within_a_sample(tmp_path):
    trainings = one(tmp_path)
    trainings["net"][1]["qcd"] = write_tagger_scores(
        tmp_path / "qcd", sizes={"light": 700, "b": 90}, seed=5, truths=("light", "g", "b"), process="qcd"
    )
    tagged = read_tagged_jets(trainings["net"][1], weighted=True)
    assert tagged.counts() == {
        "ttbar": {"b": 3000, "c": 1500, "light": 6000, "g": 0},
        "qcd": {"b": 90, "c": 0, "light": 700, "g": 0},
    }


def test_weights_count_and_negative_ones_are_an_error_unless_they_are_left_out(tmp_path):
    size = sum(SIZES.values())
    weight = np.random.default_rng(1).uniform(0.1, 5, size)
    settings = TaggingSettings(discriminators=("BvsL",))
    (curve,) = compute_taggers(one(tmp_path / "a", weight=weight), settings=settings).curves
    tagged = read_tagged_jets({"tt": tmp_path / "a" / "tt" / "scores.h5"}, weighted=True)
    mask = tagged.jets.truth != tagged.jets.truths.index("c")
    p = tagged.probabilities[mask]
    value = p[:, CLASSES.index("b")] / (p[:, CLASSES.index("b")] + p[:, CLASSES.index("light")])
    expected = roc_auc_score(tagged.jets.truth[mask] == 0, value, sample_weight=weight[mask])
    assert curve.result.auc.value == pytest.approx(expected, rel=1e-9)
    assert curve.result.effective_signal < 0.9 * curve.result.num_signal
    weight[7] = -1
    trainings = one(tmp_path / "b", weight=weight)
    with pytest.raises(DataError, match=r"negative(.|\n)*without weights"):
        compute_taggers(trainings, settings=settings)
    unweighted = settings.model_copy(update={"weighted": False})
    (curve,) = compute_taggers(trainings, settings=unweighted).curves
    assert curve.result.effective_signal == pytest.approx(3000)


def test_infinite_discriminators_are_the_most_signal_like(tmp_path):
    p = planted_probabilities(np.repeat(list(SIZES), list(SIZES.values())))
    p[:100, CLASSES.index("light")] = 0  # b jets with nothing in the denominator
    ratio = DiscriminatorSettings(numerator=("b",), denominator=("light",))
    settings = TaggingSettings(discriminators=("b/l",), definitions={"b/l": ratio})
    trainings = one(tmp_path, probabilities=p)
    evaluation = compute_taggers(trainings, settings=settings)
    value = np.divide(p[:, 1], p[:, 0], out=np.full(len(p), 1e30), where=p[:, 0] > 0)
    truth = np.repeat([1, -1, 0], list(SIZES.values()))
    expected = roc_auc_score(truth[truth >= 0], value[truth >= 0])
    assert evaluation.curves[0].result.auc.value == pytest.approx(expected, abs=1e-4)
    shown = evaluation.distributions["net", "b/l"]
    assert shown.fractions["b"].sum() == pytest.approx(1)
    assert distribution_figure(shown, name="b/l").axes[0].get_xscale() == "log"


def test_ties_are_between_and_never_in_an_order():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 4000)
    value = np.round(rng.normal(size=4000) + truth, 0)
    jets = make_jets(truth, ("light", "b"), np.full(4000, 50), np.zeros(4000))
    result, reason = discriminator_curve(value, jets, signal=(1,), background=(0,), settings=TaggingSettings())
    assert reason is None
    assert result.auc.value == pytest.approx(roc_auc_score(truth, value), rel=1e-12)


def test_the_stored_discriminator_of_real_jets_has_its_known_area(shared_data):
    with uproot.open(shared_data / "root" / "nano_tt_v15.root") as file:
        names = ("Jet_pt", "Jet_eta", "Jet_hadronFlavour", "Jet_btagDeepFlavB")
        pt, eta, flavour, value = (file["Events"][name].array(library="np") for name in names)
    pt, eta, flavour, value = (np.concatenate(column) for column in (pt, eta, flavour, value))
    truth = np.select([flavour == 5, flavour == 4], [0, 1], 2)
    assert [(truth == code).sum() for code in (0, 1)] == [348, 194]
    jets = make_jets(truth, ("b", "c", "light"), pt, eta)
    result, _ = discriminator_curve(
        value, jets, signal=(0,), background=(2,), settings=TaggingSettings(), inside=pt > 20
    )
    assert result.auc.value == pytest.approx(0.948, abs=5e-4)
    used = (pt > 20) & (truth != 1)
    assert result.auc.value == pytest.approx(roc_auc_score(truth[used] == 0, value[used]), rel=1e-9)


def test_what_is_not_there_is_named(tmp_path):
    trainings = one(tmp_path)
    windows = {"hard": TaggingWindow(process="ttbr")}
    settings = TaggingSettings(discriminators=("BvsL",), windows=windows)
    assert compute_taggers(trainings, settings=settings).curves[1].reason.endswith("process; there are ttbar")
    with pytest.raises(ConfigError, match="no training"):
        compute_taggers({"net": {}}, settings=TaggingSettings())
    trainings["net"][1]["again"] = trainings["net"][1]["tt"]
    with pytest.raises(DataError, match="scored twice"):
        compute_taggers(trainings, settings=TaggingSettings())


@pytest.mark.parametrize("ends", [(2, 1), (-1, 1), (1, 1)])
def test_impossible_windows_are_refused(ends):
    with pytest.raises(ValueError, match="low < high"):
        TaggingWindow(pt=ends)
    with pytest.raises(ValueError, match="low < high"):
        TaggingWindow(eta=ends)
    with pytest.raises(ValueError, match="needs pt, eta or process"):
        TaggingWindow()
    with pytest.raises(ValueError, match="inclusive"):
        TaggingSettings(windows={"inclusive": WINDOW})


def test_windows_beside_each_other_share_no_jet_and_lose_none(tmp_path):
    edges = (20, 50, 100, 1000)
    windows = {f"pt{low}": TaggingWindow(pt=(low, high)) for low, high in pairwise(edges)}
    settings = TaggingSettings(discriminators=("BvsL",), windows=windows)
    whole, *parts = compute_taggers(one(tmp_path), settings=settings).curves
    assert sum(part.result.num_signal for part in parts) == whole.result.num_signal


def test_windows_have_their_lower_ends_and_count_both_sides_of_the_detector():
    jets = make_jets([0, 0, 0, 0], ("b",), [20, 50, 49.9, 19.9], [0.5, 0.5, -1.4, -0.5])
    assert in_window(jets, TaggingWindow(pt=(20, 50))).tolist() == [True, False, True, False]
    assert in_window(jets, TaggingWindow(eta=(0.5, 1.4))).tolist() == [True, True, False, True]
    assert in_window(jets, TaggingWindow(process="tt")).all()


def test_settings_of_uncertainties_bins_and_processes_are_used(tmp_path):
    trainings = one(tmp_path, sizes={"b": 200, "light": 300, "c": 20})
    trainings["net"][1]["qcd"] = write_tagger_scores(
        tmp_path / "qcd", sizes={"b": 100, "light": 200}, seed=7, process="qcd"
    )
    plain = TaggingSettings(discriminators=("BvsL",), mistag_efficiencies=(0.2, 0.01))
    wide = plain.model_copy(update={"confidence_level": 0.95, "by_process": False, "score_bins": 7, "min_jets": 25})
    curves, others = (compute_taggers(trainings, settings=settings) for settings in (plain, wide))
    assert [curve.process for curve in curves.curves] == [ALL_PROCESSES, "ttbar", "qcd"]
    (curve,) = others.curves
    narrow = curves.curves[0].result
    assert curve.result.auc.value == narrow.auc.value
    assert curve.result.auc.low < narrow.auc.low
    assert [point.target for point in curve.result.working_points] == [0.2, 0.01]
    assert [point.reason is None for point in curve.result.working_points] == [True, False]
    shown = others.distributions["net", "BvsL"]
    assert len(shown.edges) == 8
    assert list(shown.fractions) == ["b", "light"]  # 20 c jets are too few
    assert list(curves.distributions["net", "BvsL"].fractions) == ["b", "c", "light"]
