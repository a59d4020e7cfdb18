"""Noise that belongs to an event: how it is distributed, and what it does not depend on."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from honeyguide.data.noise import EventNoise

# of two files, with consecutive rows, as event ids are
IDS = torch.cat([torch.arange(4000) + (17 << 24), torch.arange(4000) + (2**38 << 24)])


def splitmix64(state: int) -> int:
    """The reference's next number, from Steele, Lea and Flood, in plain integers."""
    z = state % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_numbers_are_those_of_splitmix64():
    draw, event = 3, 2**62 + 5
    key = splitmix64(splitmix64(event) + splitmix64(draw + 1))
    expected = [(splitmix64(key + place * 0x9E3779B97F4A7C15) >> 11) / 2**53 for place in range(1, 7)]
    noise = EventNoise(torch.tensor([1, event]), draw=draw)
    assert noise.uniform(2, 2)[1].flatten().tolist() == expected[:4]
    assert noise.uniform(2)[1].tolist() == expected[4:]


def test_normal_numbers_are_normal_and_independent():
    values = torch.cat([EventNoise(IDS, draw=draw).normal(4) for draw in range(3)], 1).numpy()
    assert abs(values.mean()) < 5 / values.size**0.5
    assert abs(values.var() - 1) < 5 * (2 / values.size) ** 0.5
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-4
    # of dimensions and of draws with one another, and of neighbouring events
    correlations = torch.from_numpy(values).T.corrcoef() - torch.eye(12)
    assert correlations.abs().max() < 5 / len(IDS) ** 0.5
    for column in values.T:
        assert abs(stats.pearsonr(column[1:], column[:-1]).statistic) < 5 / len(IDS) ** 0.5


def test_uniform_numbers_are_uniform():
    values = EventNoise(IDS).uniform(3).numpy().ravel()
    assert ((values >= 0) & (values < 1)).all()
    assert stats.kstest(values, "uniform").pvalue > 1e-4


def test_an_event_has_the_same_noise_in_any_batch_and_other_noise_in_another_draw():
    whole = EventNoise(IDS, draw=1).normal(2, 3)
    some = torch.tensor([5000, 7, 123])
    assert torch.equal(EventNoise(IDS[some], draw=1).normal(2, 3), whole[some])
    assert not torch.isclose(EventNoise(IDS, draw=2).normal(2, 3), whole).all(1).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_has_the_same_noise():
    assert torch.equal(EventNoise(IDS.cuda()).uniform(5).cpu(), EventNoise(IDS).uniform(5))
    torch.testing.assert_close(EventNoise(IDS.cuda()).normal(5).cpu(), EventNoise(IDS).normal(5))
