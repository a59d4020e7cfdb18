"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import models

# shapes in annotations are checked in tests alone; before anything imports these modules
_CHECKED = ["honeyguide.nn", "honeyguide.losses", "honeyguide.data.batch"]
_CHECKED += [f"{package}.model" for package in models.REGISTRY.values()]
install_import_hook(_CHECKED, "beartype.beartype")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data; a test that needs it says so where it is not there."""
    folder = Path(os.environ.get("HONEYGUIDE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set HONEYGUIDE_TEST_DATA)")
    return folder
