"""Files of scores: what is written comes back, and what is wrong is named."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.model_inputs import TRUTH
from honeyguide.errors import StoreError
from honeyguide.io.scores import ScoresWriter, read_scores
from tests.planted import make_spec


def write(folder, blocks: list[int], num_events: int | None = None, latent_dim: int = 2) -> list[dict]:
    rng = np.random.default_rng(1)
    written = []
    with ScoresWriter(
        folder, num_events=sum(blocks) if num_events is None else num_events, score_names=["total", "kl"],
        latent_dim=latent_dim, spec=make_spec(), root=False,
    ) as writer:  # fmt: skip
        for size in blocks:
            truth = {name: rng.integers(-1, 100, size).astype(dtype) for name, dtype in TRUTH.items()}
            truth["event_id"] += 2**62 + 1  # float64 can't hold such an id
            scores = {name: rng.normal(size=size).astype(np.float32) for name in ("total", "kl")}
            latent = rng.normal(size=(size, latent_dim)).astype(np.float32)
            writer.append(truth, scores, latent)
            written.append({**truth, **scores, "latent": latent})
    return written


@settings(max_examples=15, deadline=None)
@given(blocks=st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_blocks_come_back_as_one(tmp_path_factory, blocks):
    folder = tmp_path_factory.mktemp("scores")
    written = write(folder, blocks)
    stored = read_scores(folder / "scores.h5")
    assert len(stored) == sum(blocks)
    expected = {name: np.concatenate([block[name] for block in written]) for name in written[0]}
    for name, dtype in TRUTH.items():
        np.testing.assert_array_equal(getattr(stored, name), expected[name])
        assert getattr(stored, name).dtype == dtype
    for name in ("total", "kl"):
        np.testing.assert_array_equal(stored.scores[name], expected[name])
    np.testing.assert_array_equal(stored.latent, expected["latent"])
    assert stored.generators == ("pythia", "herwig")
    # what files of rows have beside
    assert (stored.truth, stored.pt, stored.eta) == (None, None, None)
    assert stored.truths == stored.classes == ()


def test_missing_events_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="30 of 31 events"):
        write(tmp_path, [10, 20], num_events=31)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "version", "dataset"])
def test_damaged_files_are_readable_errors(tmp_path, damage):
    path = tmp_path / "scores.h5"
    if damage != "missing":
        write(tmp_path, [100])
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if damage in ("version", "dataset"):
        with h5py.File(path, "r+") as file:
            if damage == "version":
                file.attrs["schema_version"] = 99
            else:
                del file["weight"]
    with pytest.raises(StoreError, match="score"):
        read_scores(path)
