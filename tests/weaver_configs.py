"""Data configs in the layout of weaver's for JetClass and for top tagging."""

from __future__ import annotations

from typing import Any

LABELS = [f"label_{name}" for name in ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]]
KINDS = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
FLAGS = [f"part_{name}" for name in KINDS]
SCALED: list[Any] = [
    ["part_pt_log", 1.7, 0.7],
    ["part_e_log", 2.0, 0.7],
    ["part_logptrel", -4.7, 0.7],
    ["part_logerel", -4.7, 0.7],
    ["part_deltaR", 0.2, 4.0],
]
NEW = {
    "part_mask": "ak.ones_like(part_energy)",
    "part_pt": "np.hypot(part_px, part_py)",
    "part_pt_log": "np.log(part_pt)",
    "part_e_log": "np.log(part_energy)",
    "part_logptrel": "np.log(part_pt/jet_pt)",
    "part_logerel": "np.log(part_energy/jet_energy)",
    "part_deltaR": "np.hypot(part_deta, part_dphi)",
    "part_d0": "np.tanh(part_d0val)",
    "part_dz": "np.tanh(part_dzval)",
}


def inputs(features: list[Any], **changes: Any) -> dict[str, Any]:
    """Returns inputs in the layout of weaver's configs of jets."""
    angles = [["part_deta", None], ["part_dphi", None]]
    momenta = [[f"part_{name}", None] for name in ("px", "py", "pz", "energy")]
    parts = {"pf_points": angles, "pf_features": features + angles, "pf_vectors": momenta}
    return {
        **{name: {"length": 128, "pad_mode": "wrap", "vars": listed} for name, listed in parts.items()},
        "pf_mask": {"length": 128, "pad_mode": "constant", "vars": [["part_mask", None]]},
        **changes,
    }


def full(**changes: Any) -> dict[str, Any]:
    """Returns a config of the layout of JetClass's with 17 features."""
    displaced = [["part_d0", None], ["part_d0err", 0, 1, 0, 1], ["part_dz", None], ["part_dzerr", 0, 1, 0, 1]]
    config = {
        "selection": None,
        "new_variables": NEW,
        "preprocess": {"method": "manual", "data_fraction": 0.5},
        "inputs": inputs([*SCALED, *([flag, None] for flag in FLAGS), *displaced]),
        "labels": {"type": "simple", "value": LABELS},
        "observers": ["jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles", "jet_sdmass"],
        "weights": None,
    }
    return config | changes


def kin(**changes: Any) -> dict[str, Any]:
    """Returns a config of the layout of the top-tagging one with 7 features."""
    new = {name: NEW[name] for name in list(NEW)[:7]} | {"jet_isTop": "label", "jet_isQCD": "1-label"}
    config = {"new_variables": new, "inputs": inputs(SCALED), "observers": ["jet_pt", "jet_eta", "n_parts"]}
    return config | {"labels": {"type": "simple", "value": ["jet_isTop", "jet_isQCD"]}} | changes
