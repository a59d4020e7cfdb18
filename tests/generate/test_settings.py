"""Settings of simulated events: impossible ones are refused with a reason, and the module is light."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from honeyguide.generate.pythia import _VARIATIONS, PythiaGenerator, pythia_commands
from honeyguide.generate.settings import DetectorSettings, GeneratorSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"process": "qcd_dijets", "r_inv": 0.3}, "has no r_inv"),
        ({"process": "qcd_dijets", "mass": 1000}, "has no mass"),
        ({"process": "bbbar_dijets", "mass": 1000}, "has no mass"),
        ({"process": "semi_visible_jets", "r_inv": 0.3}, "needs mass"),
        ({"process": "semi_visible_jets", "mass": 1000}, "needs r_inv"),
        ({"process": "semi_visible_jets", "mass": 1000, "r_inv": 1.2}, "less than or equal to 1"),
        ({"process": "semi_visible_jets", "mass": 1000, "r_inv": -0.1}, "greater than or equal to 0"),
        ({"process": "semi_visible_jets", "mass": 60, "r_inv": 0.1}, "too small"),
        ({"process": "semi_visible_jets", "mass": 1000, "r_inv": 0.1, "setting": "vincia"}, "Vincia"),
        ({"process": "semi_visible_jets", "mass": 1000, "r_inv": 0.1, "pt_hat_min": 500}, "pt_hat_min"),
        ({"process": "wprime_to_qqqq", "mass": 3500, "mass_x": 500}, "needs mass_y"),
        ({"process": "wprime_to_qqqq", "mass": 500, "mass_x": 500, "mass_y": 100}, "too small"),
        ({"process": "wprime_to_qqqq", "mass": 14000, "mass_x": 500, "mass_y": 100}, "not below sqrt_s"),
        ({"process": "dijets"}, "qcd_dijets"),
        ({"process": "qcd_dijets", "settings": "mpi"}, "Extra inputs"),
        ({"process": "qcd_dijets", "events": 0}, "greater than 0"),
    ],
)
def test_impossible_settings_are_refused_with_a_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GeneratorSettings(**values)


def test_part_of_a_response_can_be_given() -> None:
    given = '{"photons": {"efficiency": 0.5}, "jets": {"radius": 0.4}}'
    detector = DetectorSettings.model_validate_json(given, strict=True)
    default = DetectorSettings()
    assert detector.photons == default.photons.model_copy(update={"efficiency": 0.5})
    assert detector.muons == default.muons
    assert detector.jets.radius == 0.4
    assert detector.jets.min_pt == default.jets.min_pt
    with pytest.raises(ValidationError, match="eficiency"):
        DetectorSettings.model_validate_json('{"photons": {"eficiency": 0.5}}', strict=True)


def test_signal_point_has_the_parameters_of_its_process() -> None:
    assert GeneratorSettings(process="qcd_dijets").signal_point is None
    svj = GeneratorSettings(process="semi_visible_jets", mass=3500, r_inv=0.0)
    assert svj.signal_point == {"mass": 3500.0, "r_inv": 0.0}
    assert svj.is_signal


@pytest.mark.parametrize("setting", sorted(_VARIATIONS))
def test_pythia_takes_every_setting_and_they_differ(setting: str) -> None:
    settings = GeneratorSettings(process="qcd_dijets", setting=setting)  # type: ignore[arg-type]
    others = [one for one in _VARIATIONS if one != setting]
    assert all(_VARIATIONS[one] != _VARIATIONS[setting] for one in others)
    assert len(PythiaGenerator(settings, seed=1).next_batch(1)) == 1


def test_commands_are_those_of_the_process() -> None:
    assert "Random:seed = 5" in pythia_commands(GeneratorSettings(process="qcd_dijets"), seed=5)
    svj = pythia_commands(GeneratorSettings(process="semi_visible_jets", mass=2000, r_inv=0.25), seed=1)
    assert "4900023:m0 = 2000.0" in svj
    assert "4900111:oneChannel = 1 0.25 0 51 -51" in svj


def test_heavy_quark_dijets_are_background_and_take_the_cuts_of_qcd() -> None:
    settings = GeneratorSettings(process="ccbar_dijets", pt_hat_min=40, pt_hat_bias=4)
    assert not settings.is_signal
    assert settings.signal_point is None
    commands = pythia_commands(settings, seed=1)
    assert {"HardQCD:hardccbar = on", "PhaseSpace:pTHatMin = 40.0"} <= set(commands)
    assert "HardQCD:all = on" not in commands


def test_settings_load_nothing_heavy() -> None:
    heavy = ("numpy", "awkward", "pythia8mc", "torch")
    code = f"import sys, honeyguide.generate.settings; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
