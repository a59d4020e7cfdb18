"""pyproject.toml, constraints.txt and env.yml name the same packages and versions."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_constraints_are_exact_and_portable() -> None:
    for name, version in pins().items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"
        assert not name.startswith(("nvidia", "triton", "cuda"))


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_constraints_fulfil_the_ranges(wanted: Requirement) -> None:
    assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)])


def test_constraints_are_closed_under_dependencies() -> None:
    """Every dependency of a pinned package is pinned (of packages that are installed here)."""
    builds = ("nvidia", "triton", "cuda")
    missing = set()
    for name in pins():
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        needed = [Requirement(line) for line in lines]
        here = [item.name for item in needed if item.marker is None or item.marker.evaluate({"extra": ""})]
        missing |= {canonicalize_name(item) for item in here if not item.startswith(builds)} - set(pins())
    assert missing == set()


def test_conda_environment_is_the_same() -> None:
    dependencies = yaml.safe_load((ROOT / "env.yml").read_text())["dependencies"]
    (nested,) = (item["pip"] for item in dependencies if isinstance(item, dict))
    assert nested[0] == "-c constraints.txt"
    versions = dict(line.split("==") for line in nested[1:])
    assert versions == {canonicalize_name(item.name): pins()[canonicalize_name(item.name)] for item in WANTED}
    (python,) = (item for item in dependencies if isinstance(item, str) and item.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))
