"""A planted drift is found, and events of one distribution raise no more false alarms than the level says."""

from __future__ import annotations

import numpy as np
import pytest

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.diagnostics.drift import classifier_auc, compare, drifted, event_features, holm, ks_test
from honeyguide.diagnostics.inspected import Events
from tests.planted import make_spec


def groups(first: dict[str, np.ndarray], second: dict[str, np.ndarray]):
    """Returns features of two groups together, and the two groups."""
    features = {name: np.concatenate([first[name], second[name]]) for name in first}
    num_first, num_second = len(next(iter(first.values()))), len(next(iter(second.values())))
    rows = np.arange(num_first + num_second) < num_first
    return features, ("a", rows), ("b", ~rows)


def test_correction_for_many_tests_is_the_one_of_the_literature() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_nan = holm(np.array([[0.2, np.nan], [0.01, np.nan]]))
    assert with_nan[:, 0] == pytest.approx([0.2, 0.02])
    assert np.isnan(with_nan[:, 1]).all()
    assert holm(np.array([0.9, 0.8])).max() == 1.0


def test_planted_shift_is_found_in_its_feature_and_in_no_other() -> None:
    rng = np.random.default_rng(1)
    names = [f"f{i}" for i in range(6)]
    first = {name: rng.normal(size=600) for name in names}
    second = {name: rng.normal(size=500) for name in names}
    second["f3"] = second["f3"] + 0.5
    comparison = compare(*groups(first, second), seed=1)
    assert comparison is not None
    ((_, differs, told),) = drifted([comparison], significance=0.01)
    assert differs.tolist() == [name == "f3" for name in names]
    assert told


def test_classifier_finds_a_correlation_that_no_single_feature_shows() -> None:
    rng = np.random.default_rng(2)

    def pair(sign: float) -> dict[str, np.ndarray]:
        x = rng.normal(size=800)
        return {"x": x, "y": sign * 0.8 * x + 0.6 * rng.normal(size=800)}

    comparison = compare(*groups(pair(1), pair(-1)), seed=1)
    assert comparison is not None
    ((_, differs, told),) = drifted([comparison], significance=0.01)
    assert not differs.any()
    assert told
    assert comparison.auc > 0.7


def test_no_more_false_alarms_than_the_level_says() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        p_values = [ks_test(rng.normal(size=150), rng.normal(size=100))[1] for _ in range(8)]
        alarms += bool((holm(np.array(p_values)) < 0.05).any())
    assert alarms <= 21  # 10 are expected at most; more than 21 have a probability below 1e-3
    assert alarms >= 2  # and the test is not blind


def test_error_of_the_classifier_covers_what_equal_groups_give() -> None:
    rng = np.random.default_rng(4)
    pulls = []
    for seed in range(40):
        area, error = classifier_auc(rng.normal(size=(120, 4)), rng.normal(size=(150, 4)), seed=seed)
        pulls.append((area - 0.5) / error)
    # folds that were taken as independent would give 1.37
    assert 0.6 < np.std(pulls) < 1.2
    assert abs(np.mean(pulls)) < 0.5


def test_objects_of_an_event_that_are_alike_raise_no_alarm() -> None:
    """Pooled objects would be taken for many more independent values than there are."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(40):
        events = make_events(np.repeat(rng.normal(size=(300, 1, 1)), 20, axis=1))
        features = event_features(events)
        rows = np.arange(300) < 150
        p_values = [ks_test(values[rows], values[~rows])[1] for values in features.values()]
        alarms += bool((holm(np.array(p_values)) < 0.05).any())
    assert alarms <= 7  # 2 are expected at most


def test_features_of_events_are_those_of_their_objects() -> None:
    objects = np.array([[[1.0], [3.0]], [[5.0], [0.0]], [[0.0], [0.0]]])
    mask = np.array([[True, True], [True, False], [False, False]])
    features = event_features(make_events(objects, mask))
    assert features["f0, leading"] == pytest.approx([1, 5, np.nan], nan_ok=True)
    assert features["f0, mean"] == pytest.approx([2, 5, np.nan], nan_ok=True)
    assert features["number of objects"].tolist() == [2, 1, 0]


def test_groups_of_few_events_are_not_compared() -> None:
    few = {"x": np.zeros(20)}
    assert compare(*groups(few, {"x": np.ones(500)}), seed=1) is None


def make_events(objects: np.ndarray, mask: np.ndarray | None = None) -> Events:
    num_events, num_objects, num_features = objects.shape
    spec = make_spec(shape=(num_objects,), num_features=num_features, num_event_features=0)
    zeros = np.zeros(num_events, dtype=np.int64)
    inputs = ModelInputs(
        objects=objects.astype(np.float32),
        mask=np.ones((num_events, num_objects), dtype=bool) if mask is None else mask,
        event=np.zeros((num_events, 0), dtype=np.float32),
        event_id=np.arange(num_events),
        weight=np.ones(num_events),
        label=zeros.astype(np.int8),
        process=zeros.astype(np.int16),
        generator=zeros.astype(np.int16),
        signal_point=np.full(num_events, -1, dtype=np.int16),
    )
    return Events(spec, inputs, ("a",), zeros, zeros)
