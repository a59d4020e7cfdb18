"""Settings of a training."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from honeyguide.settings import significant_values
from honeyguide.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "greater than 0"),
        ({"learning_rate": -1}, "greater than 0"),
        ({"optimizer": "adma"}, "adamw"),
        ({"seeds": []}, "nothing to train"),
        ({"seeds": [1, 1]}, "stands twice"),
        ({"seeds": [-1]}, "0 or larger"),
        ({"epoch": 3}, "Extra inputs"),
    ],
)
def test_impossible_values_are_readable_errors(values, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**values)


def test_only_what_changes_the_result_is_significant():
    same = TrainingSettings(device="cuda", num_threads=3, resident_mb=1, tensorboard=False)
    assert significant_values(same) == {}
    assert significant_values(TrainingSettings(learning_rate=0.1)) == {"learning_rate": 0.1}
