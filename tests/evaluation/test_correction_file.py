"""correctionlib itself gives back the thresholds and the efficiencies of the working points."""

from __future__ import annotations

import correctionlib
import numpy as np
import pytest
from correctionlib.schemav2 import CorrectionSet as Schema

from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import DataError
from honeyguide.evaluation.correction_file import corrections, write_corrections
from honeyguide.evaluation.discriminators import discriminators
from honeyguide.evaluation.efficiencies import make_jets
from honeyguide.evaluation.tagging_points import plane_points, tagging_points
from honeyguide.evaluation.tagging_settings import PlanePoint, TaggingSettings, WorkingPointSettings

TRUTHS = ("b", "c", "light")
BINS = JetBinning(pt=(20, 50, 100, 300), eta=(-2.5, 0, 2.5), absolute_eta=False)


def made(bins=BINS):
    """Working points in one and two dimensions; there are no c jets above 100 GeV, and few jets for `tight`."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 2000)
    pt = rng.uniform(20, np.array([300, 100, 300])[truth])
    jets = make_jets(truth, TRUTHS, pt, rng.uniform(-2.5, 2.5, 2000), rng.uniform(0.5, 1.5, 2000))
    options = TaggingSettings(bins=bins, plane_points={"medium": PlanePoint(first=0.2, second=0.3)})
    found = discriminators(options, TRUTHS)
    p = np.exp(rng.normal(0, 1, (2000, 3)) + 2 * np.eye(3)[truth])
    values = {name: found[name].values(p) for name in found}
    points = WorkingPointSettings(points={"loose": 0.1, "tight": 0.001})
    one = tagging_points(values["BvsL"], jets, discriminator=found["BvsL"], points=points, settings=options)
    pair = (found["CvsL"], found["CvsB"])
    return [one, plane_points((values["CvsL"], values["CvsB"]), jets, pair=pair, settings=options)]


@pytest.fixture
def results():
    return made()


@pytest.fixture
def read(results, tmp_path):
    def reader(**options):
        write_corrections(tmp_path / "points.json", results, description="a toy", **options)
        return correctionlib.CorrectionSet.from_file(str(tmp_path / "points.json"))

    return reader


def test_the_file_has_the_schema_and_says_what_is_in_it(results):
    schema = Schema.model_validate(corrections(results, description="a toy"))
    names = ["BvsL_threshold", "BvsL_efficiency", "CvsL_CvsB_threshold", "CvsL_CvsB_efficiency"]
    assert [correction.name for correction in schema.corrections] == names
    assert "nearest bin" in schema.corrections[1].description
    inputs = ["systematic", "working_point", "flavour", "eta", "pt"]
    assert [variable.name for variable in schema.corrections[1].inputs] == inputs
    absolute = corrections(made(JetBinning(pt=(20, 300), eta=(0, 2.5))), description="a toy", flow="error")
    inputs = [variable.name for variable in Schema.model_validate(absolute).corrections[1].inputs]
    assert inputs == ["systematic", "working_point", "flavour", "abs_eta", "pt"]
    assert "are errors" in absolute["corrections"][1]["description"]


def test_correctionlib_reads_the_default_bins(tmp_path):
    """Some of them are whole numbers, which correctionlib takes for no edges."""
    write_corrections(tmp_path / "points.json", made(TaggingSettings().bins), description="a toy")
    file = correctionlib.CorrectionSet.from_file(str(tmp_path / "points.json"))
    assert 0 < file["BvsL_efficiency"].evaluate("central", "loose", "b", 0.7, 250.0) <= 1


def test_thresholds_in_two_dimensions(results, read):
    file = read()
    for name, value in zip(("CvsL", "CvsB"), results[1].points[0].thresholds, strict=True):
        assert file["CvsL_CvsB_threshold"].evaluate("medium", name) == pytest.approx(value, rel=1e-14)


def test_thresholds_select_the_same_jets_as_before_they_were_written(tmp_path):
    """200 working points; correctionlib reads many a number of 17 digits a bit too high or too low."""
    rng = np.random.default_rng(1)
    jets = make_jets(np.arange(4000) % 2 * 2, TRUTHS, np.full(4000, 30.0), np.zeros(4000))
    values = 1 / (1 + np.exp(rng.normal(0, 3, 4000) + jets.truth))
    options = TaggingSettings(bins=BINS)
    points = WorkingPointSettings(points={f"{i}": i / 210 for i in range(5, 205)})
    found = discriminators(options, TRUTHS)["BvsL"]
    result = tagging_points(values, jets, discriminator=found, points=points, settings=options)
    write_corrections(tmp_path / "points.json", [result], description="a toy")
    file = correctionlib.CorrectionSet.from_file(str(tmp_path / "points.json"))
    for point in result.points:
        read = file["BvsL_threshold"].evaluate(point.name, "BvsL")
        np.testing.assert_array_equal(values >= read, values >= point.thresholds[0])


def test_efficiencies_of_every_truth_bin_and_end_of_the_interval(results, read):
    file = read()
    pt, eta = np.array([20, 70, 299.0]), np.array([-1, 0.0])
    for result, point, name in ((results[0], "loose", "BvsL"), (results[1], "medium", "CvsL_CvsB")):
        for systematic, table in (
            ("central", result.binned.value),
            ("up", result.binned.high),
            ("down", result.binned.low),
        ):
            for code, truth in enumerate(TRUTHS):
                for i, j in np.argwhere(~np.isnan(table[0, code])):
                    found = file[f"{name}_efficiency"].evaluate(systematic, point, truth, eta[j], pt[i])
                    assert found == pytest.approx(table[0, code, i, j], rel=1e-14)
    many = file["BvsL_efficiency"].evaluate("central", "loose", "b", np.array([-1, 1.0]), np.array([30, 200.0]))
    np.testing.assert_allclose(many, results[0].binned.value[0, 0, [0, 2], [0, 1]], rtol=1e-14)


def test_what_is_not_defined_is_an_error(results, read):
    file = read()
    assert np.isnan(results[0].binned.value[0, 1, 2, 0])
    assert results[0].points[1].reason
    with pytest.raises((IndexError, RuntimeError)):
        file["BvsL_efficiency"].evaluate("central", "loose", "c", 0.0, 200.0)
    with pytest.raises((IndexError, RuntimeError)):
        file["BvsL_threshold"].evaluate("tight", "BvsL")
    with pytest.raises((IndexError, RuntimeError)):
        file["BvsL_efficiency"].evaluate("central", "tight", "b", 0.0, 30.0)


def test_flow(results, read):
    def outside(file):
        return file["BvsL_efficiency"].evaluate("central", "loose", "b", 3.0, 1000.0)

    assert outside(read(flow="clamp")) == pytest.approx(results[0].binned.value[0, 0, 2, 1], rel=1e-14)
    with pytest.raises((IndexError, RuntimeError)):
        outside(read(flow="error"))


def test_an_infinite_threshold_is_a_readable_error():
    jets = make_jets(np.repeat([0, 2], 20), TRUTHS, np.full(40, 30.0), np.zeros(40))
    values = np.where(np.arange(40) < 35, np.inf, 0)
    options = TaggingSettings(bins=BINS)
    found = discriminators(options, TRUTHS)["BvsL"]
    points = WorkingPointSettings(points={"loose": 0.8})
    result = tagging_points(values, jets, discriminator=found, points=points, settings=options)
    with pytest.raises(DataError, match="infinite threshold"):
        corrections([result], description="a toy")
