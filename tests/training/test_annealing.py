"""The values of each epoch, by hand; BEAD's form means the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from honeyguide.errors import ConfigError
from honeyguide.settings import significant_values
from honeyguide.training.annealing import Annealing
from honeyguide.training.annealing_settings import AnnealingSettings

BASE = {"kl": 0.5, "contrastive": 2.0}


def parse(values: dict[str, Any]) -> AnnealingSettings:
    return AnnealingSettings.model_validate_json(json.dumps(values), strict=True)


def annealing(values: dict[str, Any], *, num_epochs: int = 11, patience: int | None = 6) -> Annealing:
    return Annealing({"kl": parse(values)}, base=BASE, num_epochs=num_epochs, patience=patience)


def curve(values: dict[str, Any], num_epochs: int = 11) -> list[float]:
    made = annealing(values, num_epochs=num_epochs)
    return [made.values_at([0] * epoch)["kl"] for epoch in range(num_epochs)]


def after(values: dict[str, Any], waited: list[int], patience: int = 6) -> list[float]:
    made = annealing(values, patience=patience)
    return [made.values_at(waited[:epoch])["kl"] for epoch in range(len(waited) + 1)]


def test_linear_goes_from_start_to_end_and_stays():
    values = {"shape": "linear", "start": 0, "end": 0.4, "epochs": 4, "first_epoch": 2}
    assert curve(values) == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])


def test_cosine_is_half_a_cosine():
    values = {"shape": "cosine", "start": 1, "end": 0.2, "epochs": 8}
    expected = [0.6 + 0.4 * math.cos(math.pi * min(epoch, 8) / 8) for epoch in range(11)]
    assert curve(values) == pytest.approx(expected)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_without_start_and_length_it_goes_from_the_config_to_the_last_epoch(shape):
    found = curve({"shape": shape, "end": 0.1})
    assert found[0] == 0.5
    assert found[-1] == 0.1
    assert all(0.1 < value < 0.5 for value in found[1:-1])
    assert curve({"shape": shape, "end": 0.1}, num_epochs=1) == [0.5]


def test_steps_hold_from_their_epochs_on():
    values = {"shape": "steps", "values": [0, 3, 1], "at": [2, 5, 6]}
    assert curve(values) == [0.5, 0.5, 0, 0, 0, 3, 1, 1, 1, 1, 1]


def test_the_other_names_keep_their_values():
    assert annealing({"shape": "linear", "start": 0, "end": 1}).values_at([]) == {"kl": 0, "contrastive": 2.0}


WAITED = [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 1]


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        # each time that the counter leaves 0; the last value stays
        ("counter", [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3]),
        ("third_patience", [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]),
        ("half_patience", [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3]),
    ],
)
def test_a_trigger_goes_one_step_each_time_the_counter_comes_to_its_threshold(trigger, expected):
    assert after({"shape": "steps", "values": [1, 2, 3], "trigger": trigger}, WAITED) == expected


def test_a_third_of_the_patience_need_not_be_whole():
    values = {"shape": "steps", "values": [1, 2], "trigger": "third_patience"}
    assert after(values, [0, 1, 2, 3], patience=7) == [1, 1, 1, 1, 2]
    assert after(values, [0, 0, 1], patience=1) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("bead", "ours"),
    [
        (
            {"strategy": "CONSTANT_PACE", "start_value": 0.1, "end_value": 0.01, "total_steps": 10},
            {"shape": "linear", "start": 0.1, "end": 0.01, "epochs": 10},
        ),
        ({"strategy": "CONSTANT_PACE", "end_value": 0.01}, {"shape": "linear", "end": 0.01}),
        (
            {"strategy": "SCHEDULED", "schedule": {10: 0.2, 5: 0.1}},
            {"shape": "steps", "values": [0.1, 0.2], "at": [5, 10]},
        ),
        (
            {
                "strategy": "TRIGGER_BASED",
                "values": [0.001, 0.005, 0.01],
                "trigger_source": "early_stopper_third_patience",
                "current_index": 0,
            },
            {"shape": "steps", "values": [0.001, 0.005, 0.01], "trigger": "third_patience"},
        ),
        (
            {
                "strategy": "TRIGGER_BASED",
                "values": [0, 0.005, 0.01, 0.02, 0.03],
                "trigger_source": "early_stopper_half_patience",
                "current_index": 1,
            },
            {"shape": "steps", "values": [0.005, 0.01, 0.02, 0.03], "trigger": "half_patience"},
        ),
        (
            {"strategy": "TRIGGER_BASED", "values": [1, 2], "trigger_source": "early_stopper_counter"},
            {"shape": "steps", "values": [1, 2], "trigger": "counter"},
        ),
    ],
)
def test_beads_form_is_read(bead, ours):
    assert parse(bead) == parse(ours)
    assert significant_values(parse(bead)) == significant_values(parse(ours))
    assert AnnealingSettings.model_validate(bead) == parse(bead)
    assert parse(parse(bead).model_dump(mode="json")) == parse(bead)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": "linear"}, "needs an end"),
        ({"shape": "linear", "end": -1}, "greater than or equal to 0"),
        ({"shape": "linear", "end": 1, "epochs": 0}, "greater than 0"),
        ({"shape": "linear", "end": 1, "values": [1]}, "does not read values"),
        ({"shape": "steps", "values": [1], "at": [0], "end": 1}, "does not read end"),
        ({"shape": "steps", "at": [0]}, "needs values"),
        ({"shape": "steps", "values": [1]}, "either at"),
        ({"shape": "steps", "values": [1], "at": [0], "trigger": "counter"}, "either at"),
        ({"shape": "steps", "values": [1, 2], "at": [0]}, "2 values and 1 epochs"),
        ({"shape": "steps", "values": [1, 2], "at": [3, 3]}, "must grow"),
        ({"shape": "steps", "values": [1, 2], "trigger": "never"}, "half_patience"),
        ({"shape": "curve", "end": 1}, "cosine"),
        ({"strategy": "RANDOM"}, "TRIGGER_BASED"),
        ({"strategy": "CONSTANT_PACE", "end_value": 1, "attr_name": "lr"}, "has no attr_name"),
        ({"strategy": "CONSTANT_PACE", "end_value": "high"}, "valid number"),
        ({"strategy": "SCHEDULED", "schedule": [1, 2]}, "needs a schedule"),
        ({"strategy": "SCHEDULED", "schedule": {"soon": 1}}, "'soon'"),
        ({"strategy": "TRIGGER_BASED", "values": [1], "current_index": 1}, "index of one of them"),
        ({"strategy": "TRIGGER_BASED", "values": [1], "trigger_source": "lr_scheduler_triggered"}, "half_patience"),
        ({"strategy": "TRIGGER_BASED", "values": 3, "trigger_source": "early_stopper_counter"}, "not 3"),
    ],
)
def test_impossible_values_are_readable_errors(values, message):
    with pytest.raises(ValidationError, match=message):
        parse(values)


def test_unknown_names_and_missing_patience_are_errors():
    linear, trigger = parse({"shape": "linear", "end": 1}), {"shape": "steps", "values": [1, 2]}
    with pytest.raises(ConfigError, match="nearest: contrastive"):
        Annealing({"contrastiv": linear}, base=BASE, num_epochs=3, patience=None)
    with pytest.raises(ConfigError, match="early_stopping_patience"):
        annealing({**trigger, "trigger": "half_patience"}, patience=None)
    assert annealing({**trigger, "trigger": "counter"}, patience=None).values_at([0, 1])["kl"] == 2


def test_beads_names_stand_for_the_weights_that_there_are():
    base = {"reconstruction": 1.0, "kl": 0.1, "flow": 0.1, "ntxent": 0.2, "l2": 0.1, "contrastive_temperature": 0.07}
    falling = {"shape": "linear", "start": 4, "end": 2}
    names = {"reg_param": falling, "contrastive_weight": {**falling, "start": 3}, "contrastive_temperature": falling}
    settings = {name: parse(values) for name, values in names.items()}
    made = Annealing(settings, base=base, num_epochs=5, patience=None)
    expected = {"reconstruction": 1.0, "kl": 4, "flow": 4, "l2": 4, "ntxent": 3, "contrastive_temperature": 4}
    assert made.values_at([]) == expected
    with pytest.raises(ConfigError, match="two annealings of one value") as caught:
        Annealing({"kl": parse(falling), **settings}, base=base, num_epochs=5, patience=None)
    assert caught.value.details["got"] == "kl"
    with pytest.raises(ConfigError, match="contrastive_weight"):
        Annealing({"contrastive_weight": parse(falling)}, base=BASE, num_epochs=5, patience=None)


def test_a_temperature_never_comes_to_zero():
    for values in ({"shape": "linear", "end": 0}, {"shape": "steps", "values": [1, 0], "at": [0, 9]}):
        with pytest.raises(ConfigError, match="temperature of 0"):
            Annealing({"a_temperature": parse(values)}, base={"a_temperature": 1.0}, num_epochs=3, patience=None)


def test_settings_can_be_compared_by_hash():
    values = {"shape": "steps", "values": [1, 2], "at": [0, 3]}
    assert hash(parse(values)) == hash(parse(values))
