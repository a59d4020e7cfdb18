"""After reweighting every truth has the reference's spectrum; sums, flows and empty bins are as the settings say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from honeyguide.data.reweighting import JetBlock, fill_spectra, make_reweighting, read_reweighting
from honeyguide.data.reweighting_settings import JetBinning, ReweightingSettings
from honeyguide.data.splits import TRAIN, split_codes, uniform
from honeyguide.errors import ConfigError, DataError

TRUTHS = ("b", "c", "light")
BINS = JetBinning(pt=(20, 40, 80, 200), eta=(0, 1, 2.5))


def toy(num_jets=6000, seed=1, low=20.0, high=199.0, max_eta=2.4, weighted=True):
    """Spectra that differ in slope, with the given range."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, num_jets, p=[0.2, 0.1, 0.7])
    u = rng.random(num_jets) ** np.array([0.8, 1.2, 2.5])[truth]
    eta = rng.uniform(-max_eta, max_eta, num_jets) * rng.random(num_jets) ** np.array([0.5, 0.3, 0.0])[truth]
    return JetBlock(truth, low + (high - low) * u, eta, rng.exponential(1, num_jets) if weighted else None)


def made(block, **values):
    options = ReweightingSettings(**{"reference": "b", "bins": BINS, **values})
    return make_reweighting(fill_spectra([block], TRUTHS, options), options)


def filled(block, weight):
    """Spectra by numpy alone, in the bins."""
    result = []
    for code in range(3):
        mine = np.asarray(block.truth) == code
        pt, eta, w = (np.asarray(x)[mine] for x in (block.pt, np.abs(block.eta), weight))
        result.append(np.histogram2d(pt, eta, [BINS.pt, BINS.eta], weights=w)[0])
    return np.array(result)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalise", ["truth", "reference"])
def test_closure(weighted, normalise):
    block = toy(weighted=weighted)
    original = np.ones(len(block.pt)) if block.weight is None else block.weight
    found = made(block, normalise=normalise)
    before, after = filled(block, original), filled(block, original * found.weights(block))
    reference = before[0] / before[0].sum()
    for code in range(3):
        np.testing.assert_allclose(after[code] / after[code].sum(), reference, rtol=1e-9)
        total = before[code].sum() if normalise == "truth" else before[0].sum()
        assert after[code].sum() == pytest.approx(total)
    assert abs(before[2] / before[2].sum() - reference).max() > 0.1  # there was something to do
    np.testing.assert_allclose(found.weights(block)[np.asarray(block.truth) == 0], 1)
    np.testing.assert_allclose(found.before.inside, before)
    np.testing.assert_allclose(found.after.inside, after)
    np.testing.assert_allclose(found.unreached, 0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 900), max_size=5), st.sampled_from(["clip", "one", "drop"]))
def test_blocks_do_not_matter(cuts, outside):
    block = toy(1000, low=5, high=400, max_eta=4)
    options = ReweightingSettings(reference="c", bins=BINS, outside=outside)
    parts = np.split(np.arange(1000), sorted(cuts))
    blocks = [JetBlock(block.truth[p], block.pt[p], block.eta[p], block.weight[p]) for p in parts]
    whole, split = fill_spectra([block], TRUTHS, options), fill_spectra(iter(blocks), TRUTHS, options)
    np.testing.assert_allclose(split.sumw, whole.sumw, rtol=1e-12)
    np.testing.assert_allclose(split.sumw2, whole.sumw2, rtol=1e-12)
    assert whole.sumw.sum() == pytest.approx(block.weight.sum())


def test_jets_outside_of_the_bins():
    block = toy(low=5, high=400, max_eta=4)
    out = (block.pt < 20) | (block.pt >= 200) | (np.abs(block.eta) >= 2.5)
    assert 0.1 < out.mean() < 0.9
    light = np.asarray(block.truth) == 2
    inside = filled(block, block.weight)
    for outside, value in (("one", 1.0), ("drop", 0.0)):
        found = made(block, outside=outside)
        assert (found.weights(block)[out] == value).all()
        after = filled(block, block.weight * found.weights(block))
        np.testing.assert_allclose(after[2] / after[2].sum(), inside[0] / inside[0].sum())
        assert after[2].sum() == pytest.approx(inside[2].sum())
        assert found.before.outside[2] == pytest.approx(block.weight[out & light].sum())
    clipped = JetBlock(block.truth, block.pt.clip(20, 199), np.abs(block.eta).clip(0, 2.4), block.weight)
    found = made(block, outside="clip")
    np.testing.assert_allclose(found.weights(block), made(clipped).weights(clipped))
    after = filled(clipped, block.weight * found.weights(block))
    np.testing.assert_allclose(after[2] / after[2].sum(), after[0] / after[0].sum())
    assert after[2].sum() == pytest.approx(block.weight[light].sum())
    np.testing.assert_allclose(found.before.inside, filled(clipped, block.weight))
    np.testing.assert_allclose(found.before.inside2, filled(clipped, block.weight**2))
    np.testing.assert_allclose(found.after.inside, after)
    assert found.before.outside[2] == pytest.approx(block.weight[out & light].sum())


def test_a_jet_on_an_edge_is_in_the_upper_bin():
    options = ReweightingSettings(reference="b", bins=BINS, outside="one")
    spectra = fill_spectra([JetBlock([0] * 4, [19.99, 20, 40, 200], [0, -1, 2.5, 0])], TRUTHS, options)
    assert sorted(zip(*np.nonzero(spectra.sumw[0]), strict=True)) == [(0, 1), (1, 2), (2, 3), (4, 1)]


def test_bins_that_are_empty():
    """One bin lacks c jets, one lacks the reference."""
    truth = np.array([0, 0, 0, 1, 1, 1, 1])
    pt = np.array([30, 50, 50, 30, 30, 100, 100.0])
    block = JetBlock(truth, pt, np.zeros(7))
    found = made(block)
    assert found.unreached == pytest.approx([0, 2 / 3, 1])
    np.testing.assert_allclose(found.weights(block), [1, 1, 1, 2, 2, 0, 0])  # c keeps its sum, 4
    assert (found.factors[2] == 1).all()  # no light jets: nothing is weighted to zero or infinity
    one = made(block, no_reference="one")
    np.testing.assert_allclose(one.weights(block), 1)  # c keeps its sum of 2 in the reference's bin
    balanced = made(block, normalise="reference")
    np.testing.assert_allclose(balanced.weights(block), [1, 1, 1, 1.5, 1.5, 0, 0])
    assert np.isfinite(found.keep_probabilities).all()


@pytest.mark.parametrize("normalise", ["truth", "reference"])
def test_sampling_gives_the_reference_spectrum(normalise):
    block = toy(40_000, weighted=False)
    found = made(block, normalise=normalise)
    jet_id = np.arange(40_000) + (7 << 24)
    probability = found.keep_probabilities
    assert probability.max() == 1
    kept = found.kept(block, jet_id)
    expected = found.sampled.inside
    sampled = filled(block, kept.astype(float))
    variance = expected * (1 - probability[:, 1:-1, 1:-1])
    random = variance > 0
    test = (((sampled - expected) ** 2)[random] / variance[random]).sum()
    assert 1e-4 < chi2.sf(test, random.sum()) < 1 - 1e-4
    np.testing.assert_array_equal(sampled[~random], expected[~random])
    shapes = expected / expected.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(shapes[1], shapes[0])
    np.testing.assert_allclose(shapes[2], shapes[0])
    if normalise == "reference":
        np.testing.assert_allclose(expected, expected[[0, 0, 0]])
    else:
        assert (probability[:, 1:-1, 1:-1].max((1, 2)) == 1).all()


def test_sums_of_squared_weights_are_those_of_the_jets():
    """For error bars: weighting scales a jet's squared weight by the squared factor, sampling keeps or drops it."""
    block = toy(40_000)
    found = made(block)
    np.testing.assert_allclose(found.after.inside2, filled(block, (block.weight * found.weights(block)) ** 2))
    kept = found.kept(block, np.arange(40_000))
    sampled = filled(block, block.weight**2 * kept).sum((1, 2))
    np.testing.assert_allclose(sampled, found.sampled.inside2.sum((1, 2)), rtol=0.1)


def test_the_shares_that_are_told_are_those_that_are_kept():
    block = toy(20_000)
    found = made(block)
    kept, truth = found.kept(block, np.arange(20_000)), np.asarray(block.truth)
    for code, (_, share) in enumerate(found.kept_shares.items()):
        mine = kept[truth == code]
        assert abs(mine.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(mine)) + 1e-9
    assert len(found.kept_shares) == 3


def test_the_fate_of_a_jet_depends_on_its_id_seed_and_draw_alone():
    block = toy(4000)
    found, jet_id = made(block), np.arange(4000) * 977
    kept = found.kept(block, jet_id)
    order = np.random.default_rng(2).permutation(4000)
    shuffled = JetBlock(*(np.asarray(x)[order] for x in (block.truth, block.pt, block.eta)))
    np.testing.assert_array_equal(found.kept(shuffled, jet_id[order]), kept[order])
    for other in (found.kept(block, jet_id, draw=1), made(block, seed=2).kept(block, jet_id)):
        assert (other != kept).mean() > 0.05


def test_sampling_is_independent_of_the_split():
    """Were it the same hash, the validation jets would be those that are kept first."""
    block = toy(20_000, weighted=False)
    found, jet_id = made(block, seed=0), np.arange(20_000)
    kept = found.kept(block, jet_id)
    train = split_codes(jet_id, validation=0.2, test=0.2) == TRAIN
    for code in (1, 2):
        mine = np.asarray(block.truth) == code
        rates = kept[mine & train].mean(), kept[mine & ~train].mean()
        assert rates[0] == pytest.approx(rates[1], abs=0.04)
    assert abs(np.corrcoef(uniform(jet_id), kept)[0, 1]) < 0.03


def test_jets_outside_with_weight_one_are_always_kept():
    block = toy(low=5, high=400, max_eta=4)
    out = (block.pt < 20) | (block.pt >= 200) | (np.abs(block.eta) >= 2.5)
    jet_id = np.arange(len(out))
    assert made(block, outside="one").kept(block, jet_id)[out].all()
    assert not made(block, outside="drop").kept(block, jet_id)[out].any()
    assert not made(block, outside="one").kept(block, jet_id)[~out].all()


def test_json_gives_the_same_reweighting():
    block = toy(low=5, high=400)
    found = made(block, outside="one", normalise="reference", seed=5)
    again = read_reweighting(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.settings == found.settings
    np.testing.assert_array_equal(again.factors, found.factors)
    np.testing.assert_array_equal(again.kept(block, np.arange(6000)), found.kept(block, np.arange(6000)))


def test_what_can_not_be_reweighted_is_a_readable_error():
    block = toy(100)
    with pytest.raises(ConfigError, match="nearest: light"):
        made(block, reference="ligth")
    with pytest.raises(DataError, match="1 of 2 jets have a pt that is NaN"):
        made(JetBlock([0, 1], [np.nan, 30], [0, 0]))
    with pytest.raises(DataError, match="truth codes without a name"):
        made(block).weights(JetBlock([-1], [30], [0]))
    with pytest.raises(DataError, match="1 of 2 weights"):
        made(JetBlock([0, 1], [30, 30], [0, 0], [1, -1]))
    with pytest.raises(DataError, match="reference 'b' has no jets"):
        made(JetBlock([1, 2], [30, 30], [0, 0]))
    with pytest.raises(DataError, match="c: no jets in any bin where"):
        made(JetBlock([0, 1], [30, 100], [0, 0]))
    left = made(JetBlock([0, 1], [30, 100], [0, 0]), no_reference="one")
    np.testing.assert_array_equal(left.weights(JetBlock([0, 1], [30, 100], [0, 0])), [1, 1])
    np.testing.assert_array_equal(left.unreached, [0, 1, 1])
    for values in ({"pt": (20,)}, {"pt": (30, 20)}, {"eta": (-1, 1)}, {"pt": (0, float("inf"))}):
        with pytest.raises(ValueError, match="edge"):
            JetBinning(**values)
