"""Discriminators are the sums that the settings name, whatever the order of classes; what can't be is an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.discriminators import discriminators, truth_codes
from honeyguide.evaluation.tagging_settings import READY_DISCRIMINATORS, DiscriminatorSettings, TaggingSettings

CLASSES = ("b", "bb", "lepb", "c", "uds", "g")
GROUPS = {"b": ("b", "bb", "lepb"), "light": ("uds", "g"), "quark": ("uds",), "gluon": ("g",)}


def probabilities(num_jets=50, num_classes=6, seed=1):
    return np.random.default_rng(seed).dirichlet(np.ones(num_classes), num_jets)


def made(classes=CLASSES, truths=None, **values):
    return discriminators(TaggingSettings(groups=GROUPS, **values), classes, truths)


def test_ready_discriminators_are_the_usual_ratios():
    p = probabilities()
    b, c, light, g = p[:, :3].sum(1), p[:, 3], p[:, 4:].sum(1), p[:, 5]
    expected = {
        "BvsL": b / (b + light),
        "BvsC": b / (b + c),
        "CvsB": c / (c + b),
        "CvsL": c / (c + light),
        "BvsAll": b / (b + c + light),
        "QvsG": p[:, 4] / (p[:, 4] + g),
    }
    found = made(discriminators=tuple(READY_DISCRIMINATORS))
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].values(p), values, rtol=1e-12, err_msg=name)


def test_truths_that_are_in_neither_sum_are_left_out():
    found = made()
    truth = np.array([-1, 0, 1, 2, 3, 4, 5])
    assert found["BvsL"].is_signal(truth).tolist() == [False, True, True, True, False, False, False]
    assert found["BvsL"].is_background(truth).tolist() == [False, False, False, False, False, True, True]
    assert found["BvsAll"].is_background(truth).tolist() == [False, False, False, False, True, True, True]
    assert found["CvsB"].signal == (3,)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_classes_does_not_matter(order):
    p = probabilities(5)
    first = made()["CvsL"]
    second = made(classes=tuple(CLASSES[i] for i in order))["CvsL"]
    np.testing.assert_allclose(second.values(p[:, order]), first.values(p), rtol=1e-12)


def test_classes_without_groups_stand_for_themselves():
    found = discriminators(TaggingSettings(discriminators=("BvsL",)), ("light", "c", "b"))["BvsL"]
    np.testing.assert_allclose(found.values([[0.2, 0.5, 0.3]]), 0.3 / 0.5)


def test_own_definitions_with_a_veto_and_truths_that_the_model_does_not_know():
    definition = DiscriminatorSettings(numerator=("b",), denominator=("all",), veto=("lepb", "uds", "tau"))
    found = made(
        truths=("tau", *CLASSES), discriminators=("mine",), definitions={"mine": definition, "BvsL": definition}
    )["mine"]
    assert found.numerator == (0, 1, 2)  # a veto leaves out truths, and changes no probability
    assert found.signal == (1, 2)
    assert found.background == (4, 6)


def test_zero_over_zero_is_zero_and_something_over_zero_is_infinite():
    zero = np.array([[0, 0, 0, 1.0, 0, 0]])
    assert made()["BvsL"].values(zero) == [0.0]
    ratio = DiscriminatorSettings(numerator=("b",), denominator=("c",))
    found = made(discriminators=("b/c",), definitions={"b/c": ratio})["b/c"]
    assert found.values([[0.5, 0, 0, 0, 0.5, 0], [0.2, 0, 0, 0.4, 0.4, 0], [0, 0, 0, 0, 1, 0]]).tolist() == [
        np.inf,
        0.5,
        0.0,
    ]
    assert (found.signal, found.background) == ((0, 1, 2), (3,))


def test_tiny_float32_probabilities_keep_their_ratio():
    p = np.zeros((1, 6), np.float32)
    p[0, [0, 4]] = 1e-42, 3e-42
    expected = float(p[0, 0]) / (float(p[0, 0]) + float(p[0, 4]))
    np.testing.assert_allclose(made()["BvsL"].values(p), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"definitions": {"BvsL": DiscriminatorSettings(numerator=("b",), denominator=("b", "lihgt"))}},
            "no class or group 'lihgt'(.|\n)*nearest: light",
        ),
        (
            {"definitions": {"BvsL": DiscriminatorSettings(numerator=("b",), denominator=("bb",))}},
            "'BvsL' has no background",
        ),
        (
            {"definitions": {"BvsL": DiscriminatorSettings(numerator=("b",), denominator=("all",), veto=("b",))}},
            "'BvsL' has no signal",
        ),
    ],
)
def test_wrong_names_are_readable_errors(values, message):
    with pytest.raises(ConfigError, match=message):
        made(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"discriminators": ("BvsLight",)},
        {"working_points": {"BvsLight": {}}},
        {"plane": ("BvsLight", "CvsB")},
    ],
)
def test_unknown_discriminator_is_an_error_of_the_settings_before_anything_is_trained(values):
    with pytest.raises(ValidationError, match=f"{next(iter(values))} names .*'BvsLight'.*nearest: BvsL;"):
        TaggingSettings(**values)
    own = {"BvsLight": DiscriminatorSettings(numerator=("b",), denominator=("all",))}
    TaggingSettings(**values, definitions=own)


def test_a_group_names_where_its_wrong_member_stands():
    wrong = TaggingSettings(groups={**GROUPS, "b": ("b", "bb", "leptonicB")})
    with pytest.raises(ConfigError, match=r"'leptonicB'(.|\n)*of the group 'b'"):
        discriminators(wrong, CLASSES)


def test_truth_codes_are_those_of_a_group_or_of_the_truth():
    assert truth_codes("light", TaggingSettings(groups=GROUPS), CLASSES, where="here") == (4, 5)
    assert truth_codes("c", TaggingSettings(groups=GROUPS), CLASSES, where="here") == (3,)
    with pytest.raises(ConfigError, match="nearest: light"):
        truth_codes("ligth", TaggingSettings(groups=GROUPS), CLASSES, where="here")


def test_what_is_no_probability_is_a_readable_error():
    found = made()["BvsL"]
    p = probabilities()
    with pytest.raises(DataError, match=r"allowed: \(num_jets, 6\)"):
        found.values(p[:, :5])
    with pytest.raises(DataError, match=r"1 of 50 jets have a negative probability(.|\n)*logits"):
        found.values(np.where(np.arange(300).reshape(50, 6) == 7, -1, p))
    with pytest.raises(DataError, match="1 of 50 jets have a probability that is not finite"):
        found.values(np.where(np.arange(300).reshape(50, 6) == 7, np.nan, p))


def test_settings_refuse_what_has_no_meaning():
    for values in ({"groups": {"all": ("b",)}}, {"groups": {"b": ("b", "b")}}, {"discriminators": ("BvsL", "BvsL")}):
        with pytest.raises(ValueError, match=r"all|different|twice"):
            TaggingSettings(**values)
