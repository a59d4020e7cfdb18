"""The page for users of weaver names all of a data config, and the translation knows all that it names."""

from __future__ import annotations

import re

import pytest

from configs.from_weaver import translate
from configs.load import load_experiment
from honeyguide.data.particle_table import PARTICLE_FEATURES
from tests.docs.pages import text_of
from tests.weaver_configs import full

PAGE, INPUTS = text_of("docs/from-weaver.md"), text_of("docs/particle-inputs.md")
KEYS = """
treename selection test_time_selection new_variables data_fraction length pad_mode pad_value observers monitor_variables
file_magic branch_magic bucketing reweight_vars reweight_method reweight_classes reweight_basewgt class_weights
reweight_threshold reweight_discard_under_overflow use_precomputed_weights weight_branches
"""
OPTIONS = """
data-train data-val data-test data-config network-config model-prefix load-epoch num-epochs batch-size start-lr
optimizer lr-scheduler use-amp compile fetch-step fetch-by-files in-memory cross-validation backend predict
predict-output gpus
"""


def left_column(heading: str) -> str:
    """What stands for weaver in the table under a heading."""
    text = re.split(r"(?m)^## ", PAGE.split(f"\n## {heading}\n")[1])[0]
    return "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("| "))


@pytest.mark.parametrize("key", KEYS.split())
def test_every_key_is_mapped(key: str) -> None:
    assert re.search(rf"[`:, ]{key}`", left_column("Data config"))


@pytest.mark.parametrize("option", OPTIONS.split())
def test_every_option_is_mapped(option: str) -> None:
    assert re.search(rf"`--{option}\b", left_column("Commands"))


def test_every_role_and_kind_is_mapped() -> None:
    column = left_column("Data config")
    for name in ("points", "features", "vectors", "mask"):
        assert f"`inputs: NAME_{name}`" in column
    for name in ("manual", "auto"):
        assert f"`preprocess: method: {name}`" in column
    for name in ("simple", "custom"):
        assert f"`labels: type: {name}`" in column
    top = {key for key in KEYS.split() if key in full() or "magic" in key or key in ("treename", "bucketing")}
    for key in top - {"new_variables", "observers"}:
        translate(full(**{key: None}), "mine")  # an unknown key is an error


def test_configs_and_features_of_the_pages_exist() -> None:
    for name in ("jetclass_kin", "jetclass_kinpid", "jetclass_full"):
        assert f"`{name}`" in PAGE
        item = load_experiment(name).settings.preprocess.sets["particles"]
        rows = [line for line in INPUTS.splitlines() if f"`{item.particle_features}` " in f"{line[:-1]} "]
        listed = [found for line in rows for found in re.findall(r"`(\w+)`", line.split(" | ")[0])]
        assert set(listed) == {feature.name for feature in PARTICLE_FEATURES[item.particle_features]}
