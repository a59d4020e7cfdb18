"""The chunks of a simulation."""

from __future__ import annotations

from tasks.generate import GenerateEventsTask


def test_chunks_add_up_to_the_samples_and_the_last_has_the_rest():
    overrides = ("dataset.events_per_chunk=600",)
    chunks = GenerateEventsTask(config="quickstart", set=overrides).create_branch_map()
    found = {
        sample: [c.num_events for c in chunks if c.sample == sample] for sample in ("qcd_no_mpi", "svj_3000_rinv03")
    }
    assert found == {"qcd_no_mpi": [600, 600, 600, 200], "svj_3000_rinv03": [500]}
    assert [c.index for c in chunks if c.sample == "qcd_no_mpi"] == [0, 1, 2, 3]
