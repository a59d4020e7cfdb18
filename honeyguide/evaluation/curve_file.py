"""ROC curves and distributions in an open HDF5 file, as both kinds of evaluation store them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

import h5py
import numpy as np

from honeyguide.evaluation.distributions import Distributions
from honeyguide.evaluation.result import RocResult


def write_curve(file: h5py.File, name: str, result: RocResult, about: Mapping[str, str | int]) -> None:
    """Writes a curve with its band as the group ``name``; ``about`` says what it is of, as attributes."""
    group = file.create_group(name)
    for key, value in about.items():
        group.attrs[key] = value
    group.attrs["auc"] = result.auc.value
    for field in fields(result.curve):
        group[field.name] = getattr(result.curve, field.name)
    group["signal_efficiency_low"] = result.low
    group["signal_efficiency_high"] = result.high


def write_distributions(file: h5py.File, found: Mapping[tuple[str, str], Distributions], *, groups: str) -> None:
    """Writes the distributions of each training and score; ``groups`` names the attribute that lists what they show."""
    for index, ((training, score), histogram) in enumerate(found.items()):
        group = file.create_group(f"distributions/{index:04d}")
        group.attrs.update({"training": training, "score": score, groups: json.dumps([*histogram.fractions])})
        group["edges"] = histogram.edges
        group["fractions"] = np.stack([*histogram.fractions.values()])
        group["errors"] = np.stack([*histogram.errors.values()])
