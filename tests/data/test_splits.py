"""The split of an event depends on its id alone, and the fractions come out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.splits import SPLITS, TEST, TRAIN, VALIDATION, hash_ids, split_codes, uniform

FRACTIONS = {"validation": 0.15, "test": 0.25}


def realistic_ids(num_files: int = 8, rows: int = 5000, seed: int = 1) -> np.ndarray:
    """Ids as the event store makes them: a 39-bit file key above a row number of 24 bits."""
    keys = np.random.default_rng(seed).integers(0, 2**39, num_files)
    return (keys[:, None] << 24 | np.arange(rows)).ravel()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_blocks=st.integers(1, 9), salt=st.integers(0, 2**40))
def test_split_is_independent_of_order_and_blocks(seed, num_blocks, salt):
    ids = realistic_ids(num_files=2, rows=300)
    codes = dict(zip(ids.tolist(), split_codes(ids, salt=salt, **FRACTIONS).tolist(), strict=True))
    shuffled = np.random.default_rng(seed).permutation(ids)
    again = np.concatenate([split_codes(b, salt=salt, **FRACTIONS) for b in np.array_split(shuffled, num_blocks)])
    assert [codes[i] for i in shuffled.tolist()] == again.tolist()


@pytest.mark.parametrize("salt", [0, 1, 2, 12345])
def test_fractions_are_within_the_binomial_error_in_each_file(salt):
    ids = realistic_ids()
    codes = split_codes(ids, salt=salt, **FRACTIONS).reshape(8, -1)
    for code, fraction in ((TRAIN, 0.6), (VALIDATION, 0.15), (TEST, 0.25)):
        error = np.sqrt(fraction * (1 - fraction) / codes.shape[1])
        assert np.all(np.abs((codes == code).mean(axis=1) - fraction) < 4.5 * error), SPLITS[code]


def test_neighbouring_rows_and_salts_are_uncorrelated():
    ids = realistic_ids(num_files=1, rows=40000)
    first, second = uniform(ids, salt=0), uniform(ids, salt=1)
    limit = 4.5 / np.sqrt(len(ids))
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < limit
    assert abs(np.corrcoef(first, second)[0, 1]) < limit
    # a split by one salt leaves a split by another unbiased
    assert abs(second[first < 0.15].mean() - 0.5) < 4.5 / np.sqrt(12 * 6000)


def test_hash_never_merges_ids():
    ids = np.concatenate([np.arange(-5000, 5000), realistic_ids()])
    assert len(np.unique(hash_ids(ids, salt=7))) == len(np.unique(ids))


def test_hash_is_the_published_finaliser():
    # SplitMix64 seeded with 0 gives these numbers (java.util.SplittableRandom, also xoshiro's reference code)
    golden = 0x9E3779B97F4A7C15
    from honeyguide.data.splits import _mix

    seeds = np.array([0, golden], dtype=np.uint64)
    assert _mix(seeds).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_rules_of_whole_samples():
    ids = realistic_ids(num_files=1)
    by_hash = split_codes(ids, **FRACTIONS)
    train_only = split_codes(ids, rule="train", **FRACTIONS)
    assert set(split_codes(ids, rule="test", **FRACTIONS)) == {TEST}
    assert TEST not in train_only
    # what validates under one rule validates under the other
    assert np.array_equal(train_only == VALIDATION, by_hash == VALIDATION)


def test_zero_fractions():
    ids = realistic_ids(num_files=1)
    assert set(split_codes(ids, validation=0.0, test=0.0)) == {TRAIN}
