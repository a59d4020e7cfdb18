"""Working points from score files: exact thresholds, efficiencies that correctionlib gives back, figures of all."""

from __future__ import annotations

import json

import correctionlib
import numpy as np
import pytest

from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import ConfigError
from honeyguide.evaluation.tagged_jets import read_tagged_jets
from honeyguide.evaluation.tagging_points_run import compute_points, evaluate_working_points, points_summary
from honeyguide.evaluation.tagging_settings import PlanePoint, TaggingSettings, WorkingPointSettings
from honeyguide.plotting.tagging_points import plane_figure
from tests.planted_tagger import CLASSES, write_tagger_scores

SIZES = {"b": 2000, "c": 1500, "uds": 3000, "g": 2000}
MEMBERS = {"light": ("uds", "g"), "b": ("b",), "c": ("c",)}
SETTINGS = TaggingSettings(
    bins=JetBinning(pt=(20, 50, 120, 400), eta=(0, 1, 2.5)),
    working_points={
        "BvsL": WorkingPointSettings(points={"loose": 0.1, "medium": 0.01}),
        "CvsL": WorkingPointSettings(mistag="g", points={"gluon": 0.05}),
    },
    plane_points={"medium": PlanePoint(first=0.3, second=0.3)},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    truths = ("g", "b", "c", "uds")
    seeds = {
        n: {"tt": write_tagger_scores(folder / str(n), sizes=SIZES, seed=n, truths=truths, gain=1.5)} for n in (3, 4)
    }
    out = folder / "out"
    out.mkdir()
    results = evaluate_working_points(seeds, out, settings=SETTINGS, name="net", members=MEMBERS)
    return seeds, out, results


def columns(seeds, seed):
    tagged = read_tagged_jets(seeds[seed], weighted=True)
    p = dict(zip(CLASSES, tagged.probabilities.T, strict=True))
    value = {f"{x}vs{y[0]}".upper(): p[x] / (p[x] + p[y]) for x, y in (("b", "light"), ("c", "light"), ("c", "b"))}
    return np.array(tagged.jets.truths)[tagged.jets.truth], tagged.jets, value


def test_thresholds_are_quantiles_of_the_mistagged_jets(made):
    seeds, out, _ = made
    entries = json.loads((out / "working_points.json").read_text())["seeds"]
    assert [entry["seed"] for entry in entries] == [3, 4]
    for entry in entries:
        truth, _, value = columns(seeds, entry["seed"])
        one, two, _ = entry["results"]
        for name, target in (("loose", 0.1), ("medium", 0.01)):
            (threshold,) = one["working_points"][name]["thresholds"]
            light = value["BVSL"][np.isin(truth, ["uds", "g"])]
            assert (light >= threshold).sum() == round(target * 5000)  # no ties: the target itself is reached
            efficiency = one["working_points"][name]["efficiencies"]["b"]["inclusive"]["efficiency"]
            assert efficiency == pytest.approx(np.mean(value["BVSL"][truth == "b"] >= threshold))
        assert set(one["mistagged"][0]) == {"uds", "g"}
        (threshold,) = two["working_points"]["gluon"]["thresholds"]
        assert (value["CVSL"][truth == "g"] >= threshold).sum() == 100


def test_correctionlib_gives_thresholds_and_efficiencies_back(made):
    seeds, out, _ = made
    path = out / "corrections_seed3.json"
    assert json.loads(path.read_text())["description"] == "tagger: net, seed 3"
    corrections = correctionlib.CorrectionSet.from_file(str(path))
    assert set(corrections) == {f"{n}_{k}" for n in ("BvsL", "CvsL", "CvsL_CvsB") for k in ("threshold", "efficiency")}
    truth, jets, value = columns(seeds, 3)
    passed = value["BVSL"] >= corrections["BvsL_threshold"].evaluate("medium", "BvsL")
    for low, high in ((20, 50), (50, 120), (120, 400)):
        for near, far in ((0, 1), (1, 2.5)):
            cell = (jets.pt >= low) & (jets.pt < high) & (abs(jets.eta) >= near) & (abs(jets.eta) < far)
            for flavour in ("b", "c"):
                found = corrections["BvsL_efficiency"].evaluate("central", "medium", flavour, near + 0.5, low + 1.0)
                assert found == pytest.approx(passed[cell & (truth == flavour)].mean())
    plane = [corrections["CvsL_CvsB_threshold"].evaluate("medium", name) for name in ("CvsL", "CvsB")]
    passed = (value["CVSL"] >= plane[0]) & (value["CVSB"] >= plane[1])
    assert passed[truth == "b"].mean() <= 0.3
    assert passed[np.isin(truth, ["uds", "g"])].mean() <= 0.3
    assert passed[truth == "c"].mean() > 0.35


def test_every_working_point_has_figures_and_a_line(made):
    _, out, results = made
    names = {path.stem for path in out.glob("*.png")}
    assert names == {path.stem for path in out.glob("*.pdf")}
    points = ("BvsL_loose", "BvsL_medium", "CvsL_gluon", "CvsL_CvsB_medium")
    expected = {f"efficiency_{name}_{against}" for name in points for against in ("pt", "eta")}
    expected |= {"plane_CvsL_CvsB"}
    assert names == {f"{name}_seed{seed}" for name in expected for seed in (3, 4)}
    assert len(points_summary(results).splitlines()) == 1 + 2 * 4


def test_a_panel_of_the_plane_has_all_jets_of_its_truths_and_the_corners_of_the_points(made):
    seeds, _, _ = made
    tagged = read_tagged_jets(seeds[3], weighted=True)
    _, plane = compute_points(tagged, settings=SETTINGS, members=MEMBERS)
    figure = plane_figure(plane)
    panels = figure.axes[:3]
    assert [ax.get_title(loc="right") for ax in panels] == ["truth: c", "truth: g, uds", "truth: b"]
    for ax in panels:
        assert np.nansum(ax.images[0].get_array()) == pytest.approx(1)
        (line,) = ax.lines
        assert (line.get_xdata()[0], line.get_ydata()[-1]) == plane.points.points[0].thresholds


def test_without_points_in_the_plane_there_is_none_and_without_any_an_error(made):
    seeds, _, _ = made
    tagged = read_tagged_jets(seeds[3], weighted=True)
    flat = SETTINGS.model_copy(update={"plane_points": {}})
    results, plane = compute_points(tagged, settings=flat, members=MEMBERS)
    assert plane is None
    assert [result.discriminators for result in results] == [("BvsL",), ("CvsL",)]
    with pytest.raises(ConfigError, match="no working points"):
        compute_points(tagged, settings=flat.model_copy(update={"working_points": {}}), members=MEMBERS)
    with pytest.raises(ConfigError, match="no training"):
        evaluate_working_points({}, made[1], settings=SETTINGS, name="net")
