"""What becomes of jobs: every output is there in the end, and a branch has run once for each time that it was lost."""

from __future__ import annotations

from tests.cluster.batch import BatchLaw, wait_for


def test_a_branch_that_fails_or_is_killed_is_tried_again_and_a_lost_output_is_made_again(law: BatchLaw) -> None:
    outcome = law.counted("--fails", "1:once,2:kill")
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 1, 1: 2, 2: 2, 3: 1}
    assert law.numbers == [0, 1, 2, 3]
    assert "RuntimeError: branch 1 fails once" in outcome.text  # the end of its log
    (lost,) = [path for path in law.store.glob("CountedTask/*/*/*/number.txt") if path.read_text() == "3"]
    lost.unlink()
    again = law.counted("--fails", "1:once,2:kill")
    assert again.returncode == 0, again.text
    assert law.executions == {0: 1, 1: 2, 2: 2, 3: 2}
    assert law.numbers == [0, 1, 2, 3]
