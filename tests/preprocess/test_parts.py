"""Preprocessing in parts: the merged files have the bytes of those that are made in one go, whatever the parts."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from honeyguide.data.sample import SampleInfo
from honeyguide.errors import DataError, StoreError
from honeyguide.preprocess.pipeline import fit_inputs, merge_parts, preprocess, write_part
from honeyguide.preprocess.settings import PreprocessSettings
from tests.preprocess import test_pipeline as of_events
from tests.preprocess import test_row_particles as of_particles
from tests.preprocess import test_rows as of_rows

Parts = dict[str, list[list[Path]]]  # shards of each part, by sample


def both_ways(
    folder: Path, parts: Parts, samples: list[SampleInfo], settings: dict, fitted: Path | None = None
) -> tuple[Path, Path]:
    """Model inputs made in one go and merged from parts, which are written in another order."""
    parsed = PreprocessSettings.model_validate_json(json.dumps(settings))
    shards = {name: [shard for part in of_sample for shard in part] for name, of_sample in parts.items()}
    whole, fit, merged = (folder / name for name in ("whole", "fit", "merged"))
    for made in (whole, fit, merged):
        made.mkdir(parents=True)
    preprocess(shards, whole, samples=samples, settings=parsed, fitted=fitted)
    fit_inputs(shards, fit, samples=samples, settings=parsed, fitted=fitted)
    written: dict[str, list[Path]] = {}
    for sample in reversed(samples):
        written[sample.name] = [folder / f"{sample.name}{i}" for i, _ in enumerate(parts[sample.name])]
        for part, own in list(zip(written[sample.name], parts[sample.name], strict=True))[::-1]:
            part.mkdir()
            write_part(own, part, fit=fit, sample=sample, settings=parsed)
    merge_parts(written, merged, fit=fit, settings=parsed, has_training=fitted is None)
    return whole, merged


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("level", ["event", "constituent"])
def test_events_are_the_same_at_any_level(tmp_path, level):
    write, make = of_events.write_shard, of_events.make_block
    parts = {
        "qcd": [
            [write(tmp_path / "a.h5", of_events.QCD, make(200, key=11)), write(tmp_path / "b.h5", of_events.QCD)],
            [write(tmp_path / "c.h5", of_events.QCD)],
            [write(tmp_path / "d.h5", of_events.QCD, make(3, key=12))],
            [write(tmp_path / "e.h5", of_events.QCD, make(150, key=13), make(90, key=14))],
        ],
        "svj_500": [[write(tmp_path / "f.h5", of_events.LIGHT, make(100, key=15, scale=3))]],
    }
    settings = {"level": level, "block_events": 70}
    settings |= {} if level == "event" else {"event_features": [{"name": "met", "scaler": "quantile"}]}
    whole, merged = both_ways(tmp_path / "out", parts, [of_events.QCD, of_events.LIGHT], settings)
    assert content(merged) == content(whole)
    assert {"spec.json", "scalers.json", "qcd/train.h5", "svj_500/test.h5"} <= set(content(merged))


def test_rows_are_the_same_with_their_truths_and_reweighting_and_so_are_those_for_a_test(tmp_path, monkeypatch):
    # what the figure is drawn from is compared; drawing takes longer than all else here
    monkeypatch.setattr("honeyguide.plotting.reweighting.reweighting_figure", lambda _: None)
    monkeypatch.setattr("honeyguide.plotting.style.save", lambda *_: None)
    write, make = of_rows.write_shard, of_rows.make_rows
    parts = {
        "qcd": [[write(tmp_path / f"q{i}.h5", of_rows.QCD, make(300, 1 + i))] for i in range(2)],
        "ttbar": [
            [write(tmp_path / "t0.h5", of_rows.TOP, truths=())],
            [write(tmp_path / "t1.h5", of_rows.TOP, make(200, 5), truths=("light", "tau", "b"))],
        ],
    }
    settings = {**of_rows.SETTINGS, "block_events": 64, "reweighting": {"reference": "b"}}
    samples = [of_rows.QCD, of_rows.TOP]
    whole, merged = both_ways(tmp_path / "out", parts, samples, settings)
    assert content(merged) == content(whole)
    assert "reweighting.json" in content(merged)

    samples = [sample.model_copy(update={"split": "test"}) for sample in samples]
    other, of_other = both_ways(tmp_path / "test", parts, samples, settings, fitted=whole)
    assert content(of_other) == content(other)
    assert set(content(other)) == {"spec.json", "scalers.json", "qcd/test.h5", "ttbar/test.h5"}


@examples(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 120), max_size=4), grouped=st.integers(1, 3))
def test_vectors_targets_and_observers_are_the_same_wherever_shards_and_parts_end(tmp_path_factory, cuts, grouped):
    folder = tmp_path_factory.mktemp("cut")
    block, edges = of_particles.jets(120), [0, *sorted(cuts), 120]
    shards = []
    for i, (low, high) in enumerate(itertools.pairwise(edges)):  # some are empty
        shards += of_particles.write(folder / f"{i}.h5", of_rows.take(block, low, high))["jets"]
    parts = {"jets": [shards[i : i + grouped] for i in range(0, len(shards), grouped)]}
    whole, merged = both_ways(folder / "out", parts, [of_particles.JETS], of_particles.SETTINGS | {"block_events": 37})
    assert content(merged) == content(whole)


def test_what_needs_the_whole_dataset_is_checked_by_the_fit(tmp_path):
    shards = [of_events.write_shard(tmp_path / f"{i}.h5", of_events.QCD, of_events.make_block(50, key=1)) for i in "ab"]
    with pytest.raises(DataError, match="same id"):
        fit_inputs({"qcd": shards}, tmp_path, samples=[of_events.QCD], settings=PreprocessSettings())


def test_a_damaged_part_is_named(tmp_path):
    shards = [of_events.write_shard(tmp_path / "a.h5", of_events.QCD, of_events.make_block(50, key=1))]
    _, merged = both_ways(tmp_path / "out", {"qcd": [shards]}, [of_events.QCD], {})
    damaged = tmp_path / "out/qcd0/train.h5"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(StoreError, match="missing or damaged"):
        merge_parts(
            {"qcd": [damaged.parent]},
            merged,
            fit=tmp_path / "out/fit",
            settings=PreprocessSettings(),
            has_training=True,
        )


def test_merging_takes_memory_that_does_not_grow_with_the_number_of_parts(tmp_path):
    shards = [of_events.write_shard(tmp_path / "a.h5", of_events.QCD, of_events.make_block(400, key=1))]
    both_ways(tmp_path / "out", {"qcd": [shards]}, [of_events.QCD], {})

    def merge(parts: int) -> Path:
        folder = tmp_path / f"merged{parts}"
        folder.mkdir()
        made = {"qcd": [tmp_path / "out/qcd0"] * parts}
        merge_parts(made, folder, fit=tmp_path / "out/fit", settings=PreprocessSettings(), has_training=True)
        return folder / "qcd/train.h5"

    one_part = merge(1).stat().st_size
    tracemalloc.start()
    assert merge(8).stat().st_size > 5 * one_part
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < one_part
