"""Chunks of simulated events: generated, seen by the detector, selected by the trigger, written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import ConfigError, DataError
from honeyguide.generate.bead_csv import write_bead_csv
from honeyguide.generate.detector import detect, missing_momentum
from honeyguide.generate.jets import btag, cluster
from honeyguide.generate.pythia import DARK_MESONS, DEFAULT_PT_HAT_MIN, GeneratedParticles, PythiaGenerator
from honeyguide.generate.settings import QCD_PROCESSES, DetectorSettings, EventFormat, GeneratorSettings
from honeyguide.generate.tagging import tagging_features, without_late_tracks
from honeyguide.generate.tagging_root import write_tagging_root
from honeyguide.io.lhco_hdf5 import MAX_PARTICLES, write_lhco

FILE_NAMES: dict[EventFormat, str] = {"bead_csv": "events.csv", "lhco_hdf5": "events.h5", "tagging_root": "jets.root"}
RECORD = "generation.json"
REFERENCES = ("Pythia 8.3: arXiv:2203.11601", "FastJet: arXiv:1111.6097", "anti-kT: arXiv:0802.1189")
_MAX_PYTHIA_SEED = 899_999_999
_MAX_BATCH = 200
_PATIENCE = 5  # the acceptance is judged once this many events should have been accepted


@dataclass(frozen=True)
class SimulatedEvents:
    """Accepted events and how they came about.

    Attributes:
        events: ``num_events * {weight, met, met_phi, particles: var * {pdg_id, pt, eta, phi}, jets: var * {pt, eta,
            phi, mass, btag, constituents: var * int}}``; GeV and radians; weights in pb. With
            ``detector.tracking`` also ``tagging``, what taggers read of each jet.
        record: Cross section, numbers of tried and accepted events, seeds, truth; plain JSON types.
    """

    events: ak.Array
    record: dict[str, Any]


def generate_chunk(
    folder: Path,
    *,
    generator: GeneratorSettings,
    detector: DetectorSettings,
    num_events: int,
    chunk: int = 0,
    formats: Sequence[EventFormat] = ("bead_csv",),
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Returns the record of a chunk after writing its events, and the record as ``generation.json``, into ``folder``.

    The files are bit-identical for equal arguments, but for the times of writing that ROOT files hold. Memory
    grows by about 10 kB per event of the chunk.

    Args:
        folder: An existing folder.
        generator: The sample that the chunk belongs to.
        detector: Detector, jets and trigger.
        num_events: Number of accepted events of this chunk.
        chunk: Index of the chunk; other chunks of the sample have other random numbers.
        formats: ``bead_csv`` (``events.csv``), ``lhco_hdf5`` (``events.h5``) and ``tagging_root`` (``jets.root``, needs
            ``detector.tracking``).
        progress: Called with the number of events accepted so far.

    Raises:
        ConfigError: The generator's cut would sculpt what the trigger accepts.
        DataError: Hardly any event is accepted.
        ModelError: Pythia refuses the settings.
    """
    simulated = simulate(generator, detector, num_events=num_events, chunk=chunk, progress=progress)
    for name in formats:
        if name == "bead_csv":
            write_bead_csv(folder / FILE_NAMES[name], simulated.events)
        elif name == "tagging_root":
            first_id = first_event_id(generator, detector, chunk)
            write_tagging_root(folder / FILE_NAMES[name], simulated.events, first_id=first_id)
        else:
            label = np.full(num_events, int(generator.is_signal), dtype=np.int8)
            write_lhco(folder / FILE_NAMES[name], padded_particles(simulated.events.particles), label)
    (folder / RECORD).write_text(json.dumps(simulated.record, indent=1, sort_keys=True) + "\n")
    return simulated.record


def simulate(
    generator: GeneratorSettings,
    detector: DetectorSettings,
    *,
    num_events: int,
    chunk: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SimulatedEvents:
    """Returns ``num_events`` accepted events of a chunk, in memory. Arguments and errors as for ``generate_chunk``."""
    _check_threshold(generator, detector)
    pythia_seed, rng = chunk_random(generator, detector, chunk)
    pythia = PythiaGenerator(generator, seed=pythia_seed, with_history=detector.tracking is not None)
    tally = _Tally()
    while tally.num_accepted < num_events:
        particles = pythia.next_batch(tally.batch_size(num_events))
        tally.add(particles, _accepted(particles, detector, rng))
        _check_acceptance(tally, generator, detector)
        if progress is not None:
            progress(min(tally.num_accepted, num_events))
    events = ak.concatenate(tally.accepted)[:num_events]
    sigma, error = pythia.cross_section
    accepted_sigma = sigma * tally.weight_accepted / tally.weight_tried
    share = accepted_sigma * num_events / generator.events
    raw = ak.to_numpy(events.weight)
    events = ak.with_field(events, share * raw / raw.sum(), "weight")
    record = {
        "generator": generator.model_dump(mode="json"),
        "detector": detector.model_dump(mode="json"),
        "chunk": chunk,
        "pythia_seed": pythia_seed,
        "events": num_events,
        "tried": tally.num_tried,
        "accepted_of_tried": tally.num_accepted,
        "acceptance": tally.weight_accepted / tally.weight_tried,
        "cross_section_pb": sigma,
        "cross_section_error_pb": error,
        "accepted_cross_section_pb": accepted_sigma,
        "sum_of_weights_pb": share,
        "label": int(generator.is_signal),
        "dark_hadrons": tally.dark_hadrons,
        "invisible_dark_hadrons": tally.invisible_dark_hadrons,
        "references": list(REFERENCES),
        "versions": {"pythia": pythia.version, **{name: version(name) for name in ("pythia8mc", "fastjet", "numpy")}},
    }
    return SimulatedEvents(events, record)


def chunk_random(
    generator: GeneratorSettings, detector: DetectorSettings, chunk: int
) -> tuple[int, np.random.Generator]:
    """Returns Pythia's seed and the detector's random numbers for a chunk.

    They follow by SHA-256 from the settings, the sample's seed among them, and the chunk's index, but not from the size
    of the sample, so that a larger sample begins with the same events.
    """
    sequence = np.random.SeedSequence(int.from_bytes(_chunk_digest(generator, detector, chunk), "big"))
    pythia_sequence, detector_sequence = sequence.spawn(2)
    pythia_seed = 1 + int(pythia_sequence.generate_state(1, np.uint64)[0] % _MAX_PYTHIA_SEED)
    return pythia_seed, np.random.default_rng(detector_sequence)


def first_event_id(generator: GeneratorSettings, detector: DetectorSettings, chunk: int) -> int:
    """Returns the id of the first event of a chunk: 39 bits that depend on all that the chunk is, and 24 zeros."""
    return int.from_bytes(_chunk_digest(generator, detector, chunk)[-5:], "big") >> 1 << 24


def _chunk_digest(generator: GeneratorSettings, detector: DetectorSettings, chunk: int) -> bytes:
    # a detector without tracking makes the events that it made before there was any tracking
    later = {"tracking"} if detector.tracking is None else set()
    settings = [
        generator.model_dump(mode="json", exclude={"events", "min_acceptance"}),
        detector.model_dump(mode="json", exclude=later),
    ]
    return hashlib.sha256(json.dumps([*settings, chunk], sort_keys=True).encode()).digest()


def padded_particles(particles: ak.Array) -> NDArray[np.float32]:
    """Returns the hardest 700 particles of each event, (num_events, 700, 3): pt, eta, phi; zero padded."""
    padded = np.zeros((len(particles), MAX_PARTICLES, 3), dtype=np.float32)
    kept = particles[:, :MAX_PARTICLES]  # the largest pt first
    counts = ak.to_numpy(ak.num(kept))
    filled = np.arange(MAX_PARTICLES) < counts[:, None]
    for place, name in enumerate(("pt", "eta", "phi")):
        padded[..., place][filled] = ak.to_numpy(ak.flatten(kept[name]))
    return padded


class _Tally:
    """Accepted events so far, and what was counted on the way."""

    def __init__(self) -> None:
        self.accepted: list[ak.Array] = []
        self.num_accepted = self.num_tried = 0
        self.weight_accepted = self.weight_tried = 0.0
        self.dark_hadrons = self.invisible_dark_hadrons = 0

    def batch_size(self, num_events: int) -> int:
        """Returns how many events to generate next: some more than will probably do."""
        missing = num_events - self.num_accepted
        acceptance = (self.num_accepted + 1) / (self.num_tried + 2)
        return min(_MAX_BATCH, int(1.1 * missing / acceptance) + 5)

    def add(self, particles: GeneratedParticles, accepted: ak.Array) -> None:
        self.accepted.append(accepted)
        self.num_accepted += len(accepted)
        self.num_tried += len(particles)
        self.weight_accepted += float(ak.sum(accepted.weight))
        self.weight_tried += float(particles.weights.sum())
        total, invisible = count_dark_hadrons(particles)
        self.dark_hadrons += total
        self.invisible_dark_hadrons += invisible


def count_dark_hadrons(particles: GeneratedParticles) -> tuple[int, int]:
    """Returns how many dark hadrons decayed, and how many of them to dark matter."""
    index = np.flatnonzero(np.isin(np.abs(particles.pdg_id), DARK_MESONS) & ~particles.is_final)
    daughters = np.abs(particles.pdg_id[particles.offsets[particles.event[index]] + particles.daughter[index]])
    return len(index), int(np.isin(daughters, (51, 53)).sum())


def _accepted(particles: GeneratedParticles, detector: DetectorSettings, rng: np.random.Generator) -> ak.Array:
    tracking = detector.tracking
    seen = detect(particles if tracking is None else without_late_tracks(particles, tracking), detector, rng)
    jets = cluster(seen, detector.jets)
    tags = btag(jets, particles, radius=detector.jets.radius, settings=detector.btag, rng=rng)
    met, met_phi = missing_momentum(seen)
    columns = {
        "weight": particles.weights,
        "met": met,
        "met_phi": met_phi,
        "particles": seen[["pdg_id", "pt", "eta", "phi"]],
        "jets": ak.with_field(jets, tags, "btag"),
    }
    if tracking is not None:
        columns["tagging"] = tagging_features(
            jets, seen, particles, jet_settings=detector.jets, settings=tracking, rng=rng
        )
    events = ak.zip(columns, depth_limit=1)
    trigger = detector.trigger
    leading = ak.to_numpy(ak.fill_none(ak.firsts(jets.pt), 0.0))
    keep = (leading >= trigger.min_leading_jet_pt) & (met >= trigger.min_met)
    return events[keep & (ak.to_numpy(ak.num(jets)) >= trigger.min_jets)]


def _check_threshold(generator: GeneratorSettings, detector: DetectorSettings) -> None:
    threshold = generator.pt_hat_min or DEFAULT_PT_HAT_MIN
    trigger = detector.trigger.min_leading_jet_pt
    if generator.process in QCD_PROCESSES and threshold > trigger > 0:
        raise ConfigError(
            "pt_hat_min is above the trigger's jet threshold: most of what the trigger accepts would be missing",
            got=f"pt_hat_min {threshold:g}, min_leading_jet_pt {trigger:g}",
            hint="lower pt_hat_min (0.8 times the threshold is a good value) or raise min_leading_jet_pt",
        )


def _check_acceptance(tally: _Tally, generator: GeneratorSettings, detector: DetectorSettings) -> None:
    # clearly below: half of what the smallest allowed acceptance gives, once that would be several events
    expected = tally.num_tried * generator.min_acceptance
    if expected > _PATIENCE and tally.num_accepted < expected / 2:
        raise DataError(
            f"hardly any event is accepted: {tally.num_accepted} of {tally.num_tried}",
            where=f"process {generator.process}, setting {generator.setting}",
            got=f"trigger {detector.trigger.model_dump(mode='json')}",
            allowed=f"an acceptance of at least min_acceptance = {generator.min_acceptance:g}",
            hint="loosen the trigger, raise pt_hat_min or the mass, or lower min_acceptance",
        )
