"""The chunks of a simulation."""

from __future__ import annotations

from pathlib import Path

import pytest
import uproot

from honeyguide.generate.tagging_root import TREE
from tasks.generate import GenerateEventsTask


def test_chunks_add_up_to_the_samples_and_the_last_has_the_rest():
    overrides = ("dataset.events_per_chunk=600",)
    chunks = GenerateEventsTask(config="quickstart", set=overrides).create_branch_map()
    found = {
        sample: [c.num_events for c in chunks if c.sample == sample] for sample in ("qcd_no_mpi", "svj_3000_rinv03")
    }
    assert found == {"qcd_no_mpi": [600, 600, 600, 200], "svj_3000_rinv03": [500]}
    assert [c.index for c in chunks if c.sample == "qcd_no_mpi"] == [0, 1, 2, 3]


@pytest.mark.parametrize("tracking", [True, False])
def test_jets_for_taggers_are_written_where_the_detector_has_a_tracker(
    tracking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path))
    generate = "dataset.samples.qcd_mpi.generate={process: bbbar_dijets, pt_hat_min: 40, events: 5}"
    detector = ("jets.radius=0.4", "trigger.min_leading_jet_pt=50", *(("tracking={}",) if tracking else ()))
    overrides = (generate, *(f"dataset.detector.{item}" for item in detector))
    chunks = GenerateEventsTask(config="quickstart", set=overrides).create_branch_map()
    branch = [chunk.sample for chunk in chunks].index("qcd_mpi")
    task = GenerateEventsTask(config="quickstart", set=overrides, branch=branch)
    task.run()
    assert task.complete()
    path = task.output().folder / "jets.root"
    assert path.exists() == tracking
    if tracking:
        assert (uproot.open(path)[TREE]["jet_pt"].array() > 20).to_numpy().any()
