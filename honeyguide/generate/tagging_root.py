"""Jets for taggers as a flat ROOT tree: one jet per entry."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

TREE = "DeepJetNTupler/DeepJetvars"


def write_tagging_root(path: Path, events: ak.Array, *, first_id: int) -> None:
    """Writes the jets of the events to the tree ``DeepJetNTupler/DeepJetvars`` of ``path``, one jet per entry.

    Tree and branches are named as those that b-hive's ``hlt_run3`` reads. What a parametric simulation can't have
    (numbers of hits, chi2, corrected momenta) and what QCD has not (tau leptons) is left out; neutral candidates,
    heavy hadrons and ids are added. GeV, mm, radians. Collections are jagged, ``n<collection>`` is their length.

    - ``event`` (``first_id`` plus the event's place), ``jet_index`` (0: the largest pt), ``weight`` (pb);
    - ``jet_pt eta phi energy mass ncand``, and shares of the energy ``jet_chf nhf phf elf muf`` (charged and neutral
      hadrons, photons, electrons, muons);
    - truth: ``jet_genmatch_pt hflav pflav`` (of the jet of stable visible particles, 0 without one); ``jet_hflav``,
      ``jet_pflav``, ``jet_nbhadrons``, ``jet_nchadrons`` and ``isB isBB isGBB isLeptonicB isLeptonicB_C isC isCC isGCC
      isUD isS isG isUndefined`` (exactly one is 1) as in ``honeyguide/generate/flavour.py``; ``jet_muflav``,
      ``jet_elflav`` and ``jet_tauflav``, 0 (prompt leptons in the jet, which none of the processes has); PDG id,
      momentum and flight distance of the hardest heavy hadron, ``jet_heavy_hadron_id p flight``;
    - ``jet_pfcand_*``, tracks by falling pt: ``pt eta phi energy pt_log energy_log deta dphi`` (minus the jet's) ``id``
      (211 for any hadron, 11, 13) ``charge``; impact parameters with the lifetime sign ``dxy dz trackjet_d3d`` and,
      over their errors, ``dxysig dzsig trackjet_d3dsig``; ``trackjet_dist trackjet_decayL`` (closest approach to
      the jet's axis, as in ``honeyguide/generate/tracking.py``); ``etarel ppara_ratio pperp_ratio`` (momentum along
      and across that axis);
    - ``jet_npfcand_*``, neutral candidates by falling pt: likewise (``id`` 22 or 130), and ``isgamma``;
    - ``jet_sv_*``, secondary vertices by falling significance: ``pt eta phi energy mass pt_log deta dphi ntrack dxy
      dxysig d3d d3dsig costhetasvpv enratio``, as in ``honeyguide/generate/vertices.py``.

    Equal events give equal values; the file's bits differ, since ROOT files hold the time they were written at.

    Args:
        path: File to write.
        events: ``num_events * {weight, tagging: var * {...}}`` as made by ``simulate`` with a tracker.
        first_id: Id of the first event.
    """
    counts = ak.num(events.tagging)
    place = np.repeat(np.arange(len(events)), counts)
    jets = ak.flatten(events.tagging)
    columns = {
        "event": first_id + place,
        "jet_index": ak.to_numpy(ak.flatten(ak.local_index(events.tagging, axis=1))).astype(np.int32),
        "weight": ak.to_numpy(events.weight)[place],
        **{name: jets[name] for name in jets.fields},
    }
    kinds = {name: column.dtype if isinstance(column, np.ndarray) else column.type for name, column in columns.items()}
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        file.mktree(TREE, kinds).extend(columns)
