"""The spectra of all truths in the training split, what makes them alike, and the figure of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.reweighting import fill_spectra, make_reweighting
from honeyguide.data.reweighting_settings import ReweightingSettings
from honeyguide.data.row_reweighting import REWEIGHTING, jet_blocks


def write_reweighting(folder: Path, truths: Sequence[str], settings: ReweightingSettings) -> None:
    """Writes ``reweighting.json`` and the figure ``reweighting`` of before and after to a folder of model inputs.

    Every row counts 1: what the weights of events do to the spectra is seen to in the training, which has them.

    Raises:
        DataError: The reference has no rows in the bins, or a truth has none where it has some.
    """
    # matplotlib takes a second to import
    from honeyguide.plotting.reweighting import reweighting_figure
    from honeyguide.plotting.style import save

    sources = [ModelInputs.open(path) for path in list_inputs(folder, "train").values()]
    spectra = fill_spectra((block for source in sources for block in jet_blocks(source)), truths, settings)
    reweighting = make_reweighting(spectra, settings)
    (folder / REWEIGHTING).write_text(json.dumps(reweighting.to_json(), indent=1))
    save(reweighting_figure(reweighting), folder, REWEIGHTING.removesuffix(".json"))
