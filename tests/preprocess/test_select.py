"""Selection agrees with a loop over events; derived features with their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.features import PDG_CLASSES
from honeyguide.errors import DataError
from honeyguide.preprocess.derived import feature_values, pdg_classes, wrap_angle
from honeyguide.preprocess.select import required_columns, select_objects
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings


def make_block(num_events: int, seed: int, *, max_jets: int = 5, max_constituents: int = 9) -> EventBlock:
    """Random events; some have no jets, some jets no constituents, and some momenta are equal."""
    rng = np.random.default_rng(seed)
    jets_of = rng.integers(0, max_jets + 1, num_events)
    parts_of = rng.integers(0, max_constituents + 1, jets_of.sum())

    def columns(num: int) -> dict[str, np.ndarray]:
        return {
            "pt": rng.integers(1, 30, num).astype(np.float32),
            "eta": rng.normal(size=num).astype(np.float32),
            "phi": rng.uniform(-np.pi, np.pi, num).astype(np.float32),
        }

    jets = columns(len(parts_of)) | {"btag": rng.integers(0, 2, len(parts_of)).astype(np.int8)}
    parts = columns(parts_of.sum()) | {"pdg_id": rng.choice([211, -211, 130, 22, -11, 13, 12], parts_of.sum())}
    return EventBlock(
        events={
            "id": np.arange(num_events) + (seed << 24),
            "weight": np.ones(num_events),
            "met": rng.gamma(2.0, 50.0, num_events).astype(np.float32),
            "met_phi": rng.uniform(-np.pi, np.pi, num_events).astype(np.float32),
        },
        collections={
            "jets": Collection("events", np.append(0, np.cumsum(jets_of)), jets),
            "constituents": Collection("jets", np.append(0, np.cumsum(parts_of)), parts),
        },
    )


def loop(block: EventBlock, settings: PreprocessSettings, keep: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(event, slot, index, jet) by plain Python."""
    jets, parts = block.collections["jets"], block.collections["constituents"]
    found = []
    for event in np.flatnonzero(keep).tolist():
        own = range(jets.offsets[event], jets.offsets[event + 1])
        order = jets.columns[settings.jet_ordering]
        for rank, jet in enumerate(sorted(own, key=lambda j: -order[j])[: settings.num_jets]):
            if settings.level == "jet":
                found.append((event, rank, jet, jet))
                continue
            inside = range(parts.offsets[jet], parts.offsets[jet + 1])
            by = parts.columns[settings.constituent_ordering]
            for inner, part in enumerate(sorted(inside, key=lambda p: -by[p])[: settings.num_constituents]):
                found.append((event, rank * settings.num_constituents + inner, part, jet))
    return found


@settings(max_examples=40, deadline=None)
@given(
    num_events=st.integers(0, 12),
    seed=st.integers(0, 1000),
    level=st.sampled_from(["jet", "constituent"]),
    num_jets=st.integers(1, 6),
    num_constituents=st.integers(1, 10),
    ordering=st.sampled_from(["pt", "eta"]),
    everything=st.booleans(),
)
def test_selection_is_that_of_a_loop(num_events, seed, level, num_jets, num_constituents, ordering, everything):
    block = make_block(num_events, seed)
    chosen = PreprocessSettings(
        level=level,
        num_jets=num_jets,
        num_constituents=num_constituents,
        jet_ordering=ordering,
        constituent_ordering=ordering,
    )
    keep = np.ones(num_events, dtype=bool) if everything else np.arange(num_events) % 3 != 1
    selection = select_objects(block, chosen, keep=None if everything else keep)
    got = zip(*(x.tolist() for x in (selection.event, selection.slot, selection.index, selection.jet)), strict=True)
    assert list(got) == loop(block, chosen, keep)


def test_very_many_constituents():
    num = 5000
    pt = np.random.default_rng(0).permutation(num).astype(np.float32)
    block = EventBlock(
        events={"id": np.array([1]), "weight": np.ones(1)},
        collections={
            "jets": Collection("events", np.array([0, 1]), {"pt": np.ones(1, dtype=np.float32)}),
            "constituents": Collection("jets", np.array([0, num]), {"pt": pt}),
        },
    )
    selection = select_objects(block, PreprocessSettings(num_constituents=20))
    assert pt[selection.index].tolist() == list(range(num - 1, num - 21, -1))


def test_orders_by_a_derived_feature():
    block = make_block(40, 5)
    selection = select_objects(block, PreprocessSettings(level="jet", num_jets=1, jet_ordering="num_constituents"))
    jets, counts = block.collections["jets"], block.collections["constituents"].counts
    for event, jet in zip(selection.event, selection.index, strict=True):
        assert counts[jet] == counts[jets.offsets[event] : jets.offsets[event + 1]].max()
    assert len(selection.event) == (jets.counts > 0).sum()


def test_event_level_has_one_object_per_event():
    block = make_block(7, 1)
    selection = select_objects(block, PreprocessSettings(level="event"), keep=np.arange(7) > 4)
    assert selection.event.tolist() == selection.index.tolist() == [5, 6]
    assert selection.slot.tolist() == [0, 0]


def test_missing_collection_is_named():
    block = make_block(3, 1)
    bare = EventBlock(events=block.events, collections={"jets": block.collections["jets"]})
    with pytest.raises(DataError, match="no constituents"):
        select_objects(bare, PreprocessSettings())


def test_required_columns_are_what_is_used():
    chosen = PreprocessSettings(
        constituent_ordering="pt_fraction",
        features=tuple(
            FeatureSetting(name=name, scaler=scaler)
            for name, scaler in (("delta_eta", "standard"), ("pdg_class", "onehot"), ("jet_num_constituents", "none"))
        ),
        event_features=(FeatureSetting(name="met_phi", scaler="sincos"),),
    )
    assert required_columns(chosen, chosen.features, chosen.event_features) == {
        "events": ["id", "met_phi", "weight"],
        "jets": ["eta", "pt"],
        "constituents": ["eta", "pdg_id", "pt"],
    }
    event = PreprocessSettings(level="event", features=(FeatureSetting(name="num_jets"),))
    assert required_columns(event, event.features, ()) == {"events": ["id", "weight"], "jets": []}


def test_fitting_event_features_alone_needs_no_objects():
    assert required_columns(PreprocessSettings(), (), (FeatureSetting(name="met"),)) == {
        "events": ["id", "met", "weight"]
    }


def test_derived_features_by_their_definitions():
    block = make_block(60, 9)
    jets, parts = block.collections["jets"], block.collections["constituents"]
    index = np.arange(len(parts))
    jet = np.repeat(np.arange(len(jets)), parts.counts)

    def value(name: str) -> np.ndarray:
        return feature_values(block, "constituents", name, index=index, jet=jet)

    np.testing.assert_allclose(value("delta_eta"), np.float64(parts.columns["eta"]) - jets.columns["eta"][jet])
    np.testing.assert_allclose(value("pt_fraction"), np.float64(parts.columns["pt"]) / jets.columns["pt"][jet])
    difference = np.float64(parts.columns["phi"]) - jets.columns["phi"][jet]
    assert np.abs(value("delta_phi")).max() <= np.pi
    np.testing.assert_allclose(np.exp(1j * value("delta_phi")), np.exp(1j * difference), atol=1e-12)
    events = np.arange(len(block))
    assert feature_values(block, "events", "num_jets", index=events).tolist() == jets.counts.tolist()


def test_wrapped_angles_are_half_open():
    assert wrap_angle(np.array([np.pi, -np.pi, 3 * np.pi, 0.0])).tolist() == [np.pi, np.pi, np.pi, 0.0]


def test_momentum_fraction_of_a_jet_without_momentum_is_zero():
    block = make_block(20, 2)
    block.collections["jets"].columns["pt"][:] = 0
    index = np.arange(3)
    fraction = feature_values(block, "constituents", "pt_fraction", index=index, jet=index)
    assert fraction.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("pdg_ids", "name"),
    [
        # pi+, K+, p, Sigma-, Sigma+, Xi-, Omega-, D+, D_s+, B+, Lambda_c+, a_1(1260)+
        ([211, 321, 2212, 3112, 3222, 3312, 3334, 411, 431, 521, 4122, 20213], "charged_hadron"),
        # pi0, K_L, K_S, K0, n, Lambda, Xi0, Sigma0, D0, B0, J/psi, eta
        ([111, 130, 310, 311, 2112, 3122, 3322, 3212, 421, 511, 443, 221], "neutral_hadron"),
        ([22], "photon"),
        ([11], "electron"),
        ([13], "muon"),
        # neutrino, tau, quark, gluon, Z, diquark, HV meson, neutralino, deuteron, nothing
        ([12, 15, 1, 21, 23, 2101, 4900111, 1000022, 1000010020, 0], "other"),
    ],
)
def test_classes_of_particles(pdg_ids, name):
    for sign in (1, -1):
        codes = pdg_classes(sign * np.array(pdg_ids, dtype=np.int32))
        assert [PDG_CLASSES[code] for code in codes] == [name] * len(pdg_ids)


def test_missing_column_is_named():
    block = make_block(3, 1)
    with pytest.raises(DataError, match="'mass'"):
        feature_values(block, "jets", "mass", index=np.arange(1))
