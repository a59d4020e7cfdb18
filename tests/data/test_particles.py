"""Features of particles: as the vector package has them, as weaver's configs scale them, and finite for anything."""

from __future__ import annotations

import numpy as np
import pytest
import vector

from honeyguide.data.particle_table import PARTICLE_FEATURES
from honeyguide.data.particles import azimuth, below_momentum, jet_kinematics, momentum_features, wrap_angle
from honeyguide.preprocess.settings import SetSettings

WEAVER = {
    "kin": "pt_log e_log logptrel logerel deltaR deta dphi",
    "kinpid": "pt_log e_log logptrel logerel deltaR charge isChargedHadron isNeutralHadron isPhoton isElectron isMuon "
    "deta dphi",
    "full": "pt_log e_log logptrel logerel deltaR charge isChargedHadron isNeutralHadron isPhoton isElectron isMuon "
    "d0 d0err dz dzerr deta dphi",
}
SCALED = {"pt_log": (1.7, 0.7), "e_log": (2.0, 0.7), "logptrel": (-4.7, 0.7), "logerel": (-4.7, 0.7)}
SCALED |= {"deltaR": (0.2, 4.0)}


def momenta(num: int, seed: int) -> np.ndarray:
    """Massive four-momenta in all directions, float32."""
    rng = np.random.default_rng(seed)
    three = rng.normal(size=(num, 3)) * rng.exponential(20.0, (num, 1))
    energy = np.sqrt(np.square(three).sum(1) + rng.exponential(0.1, num))
    return np.column_stack([three, energy]).astype(np.float32)


def as_vectors(four: np.ndarray) -> vector.VectorNumpy4D:
    return vector.array({name: four[:, axis].astype(float) for axis, name in enumerate(("px", "py", "pz", "E"))})


@pytest.mark.parametrize("kind", WEAVER)
def test_features_are_those_of_weaver_in_its_order(kind):
    assert [feature.name for feature in PARTICLE_FEATURES[kind]] == WEAVER[kind].split()
    item = SetSettings(size=1, vectors=("px", "py", "pz", "energy"), particle_features=kind)
    for setting in item.all_features:
        center, scale, clip = setting.affine
        if setting.name in SCALED:
            assert (center, scale, clip) == (*SCALED[setting.name], (-5.0, 5.0))
        elif setting.name in ("d0err", "dzerr"):
            assert (center, scale, clip) == (0.0, 1.0, (0.0, 1.0))
        else:
            assert setting.scaler == "none"


def test_closed_forms_agree_with_the_vector_package():
    four, jets = momenta(400, 1), momenta(400, 2)
    particles, axes = as_vectors(four), as_vectors(jets)
    found = momentum_features(four, {"pt": axes.pt, "eta": axes.eta, "phi": axes.phi, "energy": axes.E})
    sign = np.where(axes.eta < 0, -1, 1)
    expected = {
        "pt_log": np.log(particles.pt),
        "e_log": np.log(particles.E),
        "logptrel": np.log(particles.pt / axes.pt),
        "logerel": np.log(particles.E / axes.E),
        "deltaR": particles.deltaR(axes),
        "deta": (particles.eta - axes.eta) * sign,
        "dphi": particles.deltaphi(axes),
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
    assert (sign == -1).any()
    assert np.abs(found["dphi"]).max() > 3


def test_a_jet_at_eta_0_has_a_positive_sign():
    four = np.array([[3.0, 0.0, 4.0, 5.0]])
    jet = {name: np.array([value]) for name, value in {"pt": 3.0, "eta": 0.0, "phi": 0.0, "energy": 5.0}.items()}
    assert momentum_features(four, jet)["deta"][0] == pytest.approx(np.arcsinh(4 / 3))


def test_angles_are_in_the_half_open_range():
    angles = wrap_angle(np.array([np.pi, -np.pi, 3 * np.pi, 0.0, -7.0]))
    np.testing.assert_allclose(angles, [np.pi, np.pi, np.pi, 0.0, 2 * np.pi - 7], atol=1e-12)
    backwards = np.array([[-1.0, 0.0, 0, 1], [-1.0, -0.0, 0, 1], [-1.0, -1e-300, 0, 1]])
    assert azimuth(backwards).tolist() == [np.pi] * 3


@pytest.mark.parametrize(
    "four",
    [
        [0, 0, 0, 0],
        [0, 0, 50, 50],
        [0, 0, -50, 50],
        [1e-20, 0, 1e4, 1e4],
        [30, 40, 0, 50],
        [0, -0.0, 1, 1],
        [1e18, 1e18, 1e18, 2e18],
    ],
    ids=str,
)
def test_no_four_momentum_makes_a_feature_that_is_not_finite(four):
    four = np.array([four, [1, 1, 1, 2]], np.float32)
    for jet in ((0.0, 0.0, 0.0, 0.0), (500.0, -1.0, 3.0, 800.0)):
        axes = {name: np.full(2, value) for name, value in zip(("pt", "eta", "phi", "energy"), jet, strict=True)}
        found = momentum_features(four, axes)
        assert all(np.isfinite(values).all() for values in found.values())
    sums = jet_kinematics(four[:, None])
    assert all(np.isfinite(values).all() for values in sums.values())


def test_a_jet_is_the_sum_of_its_particles():
    four = momenta(200, 3).reshape(20, 10, 4)
    four[:, 7:] = 0
    total = as_vectors(four.astype(float).sum(1))
    found = jet_kinematics(four)
    for name, values in {"pt": total.pt, "eta": total.eta, "phi": total.phi, "energy": total.E}.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9)
    np.testing.assert_allclose(found["mass"], total.mass, rtol=1e-6)


def test_energy_below_momentum_is_seen_beyond_rounding_alone():
    massless = momenta(500, 4)
    massless[:, 3] = np.sqrt(np.square(massless[:, :3]).sum(1))
    assert not below_momentum(massless).any()
    massless[3, 3] *= 0.999
    assert below_momentum(massless).tolist() == [index == 3 for index in range(500)]
