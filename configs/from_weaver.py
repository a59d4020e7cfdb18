"""A dataset and an experiment from a data config of weaver: ``python -m configs.from_weaver JetClass_kin.yaml``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from configs.weaver_expressions import UntranslatableError, Variables
from honeyguide.errors import ConfigError, HoneyguideError, nearest_name

_KEYS = (
    *("treename", "file_magic", "branch_magic", "selection", "test_time_selection", "new_variables", "preprocess"),
    *("inputs", "labels", "observers", "monitor_variables", "weights", "bucketing"),
)
_ROLES = ("points", "features", "vectors", "mask")
_RESERVED = {"id", "entry", "object", "group", "truth", "process", "generator", "signal_point", "label", "offsets"}
_VARIABLE = ("center", "scale", "min", "max", "pad_value")
_ABSENT = "it is set by file_magic; give each kind of file a sample of its own (match: ['re:...']) instead"


def translate(old: Any, name: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Returns the dataset, the experiment and notes, as plain YAML types.

    Columns have the names of weaver's variables. What has no counterpart is left out, and a note says so: there is one
    for each item.

    Args:
        old: The content of weaver's YAML file, as it is written or with what weaver adds to it (``.auto.yaml``).
        name: Name of the new files.

    Raises:
        ConfigError: The file is no data config of weaver's.
    """
    _check(old, name)
    translation = _Translation({key: value for key, value in old.items() if value is not None})
    return translation.dataset(), translation.experiment(f"{name}_data.yaml"), translation.notes


class _Translation:
    def __init__(self, old: Mapping[str, Any]) -> None:
        self._old = old
        self.notes: list[str] = []
        absent = dict.fromkeys(old.get("file_magic", {}), _ABSENT)
        self._variables = Variables(old.get("new_variables", {}), absent)
        self._truths = self._labels()
        self._columns: dict[str, str] = {}
        self._event_features: list[dict[str, Any]] = []
        self._sets: dict[str, dict[str, Any]] = {}
        self._collections: dict[str, dict[str, str]] = {}
        self._points: dict[str, list[str]] = {}
        self._inputs()
        self._axes = {axis: self._axis(axis) for axis in ("pt", "eta")}
        self._targets = self._custom_labels()
        self._observers = [name for name in self._observed() if self._column(name, "observers")]
        self._reweighting, self._weighted = self._weights()
        self._say_the_rest()

    def dataset(self) -> dict[str, Any]:
        root: dict[str, Any] = {"tree": self._old.get("treename", "tree"), "columns": self._columns}
        if self._collections:
            root["collections"] = {name: {"columns": columns} for name, columns in self._collections.items()}
        cuts = self._expression(self._old.get("selection"), "selection")
        if cuts is not None:
            root["cuts"] = {"selection": cuts}
        if self._truths:
            root["truths"] = {"definitions": self._truths}
        samples = {"all": {"process": "all", "generator": "unknown", "match": ["*"]}}
        return {"schema_version": 1, "reader": {"format": "root", "root": root}, "samples": samples}

    def experiment(self, dataset: str) -> dict[str, Any]:
        preprocess: dict[str, Any] = {"level": "row"}
        preprocess |= {f"{axis}_column": column for axis, column in self._axes.items()}
        preprocess |= {"event_features": self._event_features, "sets": self._sets}
        preprocess |= {"targets": self._targets, "observers": self._observers}
        preprocess = {key: value for key, value in preprocess.items() if value}
        if self._reweighting:
            preprocess["reweighting"] = self._reweighting
        # weaver splits what trains by --train-val-split, and tests on other files
        preprocess |= {"validation_fraction": 0.2, "test_fraction": 0.0}
        classes = {name: [name] for name in self._truths}
        versus = {f"{name}vsAll": {"numerator": [name], "denominator": ["all"]} for name in classes}
        tagging = {"discriminators": list(versus), "definitions": versus, "working_points": {}, "plane_points": {}}
        experiment = {"schema_version": 1, "dataset": dataset, "preprocess": preprocess, "model": self._model(classes)}
        if self._weighted:
            experiment["training"] = {"event_weights": "physics"}
        return {**experiment, "tagging": tagging}

    def _note(self, where: str, why: str) -> None:
        self.notes.append(f"{where}: {why}")

    def _expression(self, text: Any, where: str) -> str | None:
        if text is None:
            return None
        try:
            return self._variables.expression(str(text))
        except UntranslatableError as error:
            self._note(where, f"{error}; left out: {text}")
            return None

    def _column(self, name: str, where: str) -> bool:
        """Adds a column of the rows; returns whether there is one."""
        if name not in self._columns:
            if name in _RESERVED:
                self._note(f"{where}: {name}", "a column can't have this name; left out: give it another one")
                return False
            text = self._expression(name, f"{where}: {name}")
            if text is None:
                return False
            self._columns[name] = text
        return True

    def _labels(self) -> dict[str, list[dict[str, Any]]]:
        labels = self._old.get("labels", {})
        if labels.get("type", "simple") != "simple":
            return {}
        truths = {}
        for name in labels.get("value", []):
            try:
                truths[str(name)] = self._variables.truth(str(name))
            except UntranslatableError as error:
                self._note(f"labels: {name}", f"{error}; there is no such truth, and its rows are dropped")
        return truths

    def _custom_labels(self) -> list[dict[str, Any]]:
        labels = self._old.get("labels", {})
        if labels.get("type", "simple") == "simple":
            return []
        targets = []
        for name, text in labels.get("value", {}).items():
            where = f"labels: {name}"
            expression = None if name in _RESERVED else self._expression(text, where)
            if expression is None:
                continue
            self._columns[str(name)] = expression
            targets.append({"name": str(name), "scaler": "none"})
            self._note(where, "a value to predict (preprocess.targets, model.regression), and no class")
        return targets

    def _inputs(self) -> None:
        grouped: dict[str, dict[str, Mapping[str, Any]]] = {}
        for name, section in self._old.get("inputs", {}).items():
            prefix, _, role = str(name).rpartition("_")
            known = role in _ROLES and prefix
            grouped.setdefault(prefix if known else str(name), {})[role if known else "features"] = section
        for prefix, roles in grouped.items():
            sizes = {role: section.get("length") for role, section in roles.items()}
            size = sizes.get("features", next(iter(sizes.values())))
            if len(set(sizes.values())) > 1:
                self._note(f"inputs: {prefix}", f"its parts have different lengths, and one set has one: {size}")
            if size in (None, 1):
                self._row_inputs(prefix, roles)
            else:
                self._set_inputs(prefix, roles, size)
            self._say_padding(prefix, roles)

    def _row_inputs(self, prefix: str, roles: Mapping[str, Mapping[str, Any]]) -> None:
        for role, section in roles.items():
            for variable in section["vars"] if role == "features" else ():
                setting = self._feature(variable)
                if self._column(setting["name"], f"inputs: {prefix}"):
                    self._event_features.append(setting)
            if role != "features":
                self._note(f"inputs: {prefix}_{role}", "of one value per row; left out: these are features of objects")

    def _set_inputs(self, prefix: str, roles: Mapping[str, Mapping[str, Any]], size: int) -> None:
        columns = self._collections.setdefault(prefix, {})
        found: dict[str, list[dict[str, Any]]] = {}
        for role in ("features", "points", "vectors"):
            found[role] = []
            for variable in roles.get(role, {}).get("vars", ()):
                setting = self._feature(variable)
                text = self._expression(setting["name"], f"inputs: {prefix}_{role}: {setting['name']}")
                if text is not None and setting["name"] not in _RESERVED:
                    columns[setting["name"]] = text
                    found[role].append(setting)
        features, names = found["features"], [feature["name"] for feature in found["features"]]
        self._points[prefix] = [feature["name"] for feature in found["points"]]
        for feature in found["points"]:
            if feature["name"] not in names:
                features.append(feature)
                self._note(f"inputs: {prefix}_points: {feature['name']}", "becomes a feature, too: coordinates are")
        item: dict[str, Any] = {"size": size}
        if len(found["vectors"]) == 4:
            item["vectors"] = [feature["name"] for feature in found["vectors"]]
        elif found["vectors"]:
            self._note(f"inputs: {prefix}_vectors", "four-momenta have four columns; left out")
        if features:
            self._sets[prefix] = {**item, "features": features}
        else:
            self._note(f"inputs: {prefix}", "a set needs features; left out")

    def _feature(self, variable: Any) -> dict[str, Any]:
        """Returns the setting of a variable: its name, or [name, center, scale, min, max, pad]."""
        given = variable if isinstance(variable, list) else [variable]
        preprocess = self._old.get("preprocess", {})
        auto = str(preprocess.get("method", "manual")).lower().startswith("auto")
        values: dict[str, Any] = {"center": "auto" if auto else None, "scale": 1, "min": -5, "max": 5}
        values |= dict(zip(_VARIABLE, given[1:], strict=False))
        values |= (preprocess.get("params") or {}).get(given[0], {})
        clip = [float(values["min"]), float(values["max"])]
        if values["center"] is None:
            return {"name": str(given[0]), "scaler": "none"}
        if values["center"] == "auto":
            return {"name": str(given[0]), "scaler": "percentile+affine", "clip": clip}
        affine = {"center": float(values["center"]), "scale": float(values["scale"]), "clip": clip}
        return {"name": str(given[0]), "scaler": "affine", **affine}

    def _say_padding(self, prefix: str, roles: Mapping[str, Mapping[str, Any]]) -> None:
        modes = {section.get("pad_mode", "constant") for role, section in roles.items() if role != "mask"}
        if "wrap" in modes:
            self._note(f"inputs: {prefix}: pad_mode: wrap", "empty slots are masked; what they hold is never seen")
        for role, section in roles.items():
            for variable in section["vars"]:
                if isinstance(variable, list) and len(variable) > 5 and variable[5]:
                    where = f"inputs: {prefix}_{role}: {variable[0]}: pad_value {variable[5]}"
                    self._note(where, "empty slots are masked, and hold 0")
                if role == "mask":
                    self._say_mask(prefix, str(variable[0] if isinstance(variable, list) else variable))

    def _say_mask(self, prefix: str, name: str) -> None:
        text = str(self._old.get("new_variables", {}).get(name, name))
        if not re.fullmatch(r"(ak|awkward|np|numpy)\.ones_like\(\w+\)", text.strip()):
            self._note(f"inputs: {prefix}_mask: {name}", f"objects are there or not, and '{text}' is not asked")

    def _axis(self, axis: str) -> str:
        """Returns the column of the rows' pt or eta: that of the reweighting, else one with such a name of a jet."""
        weights = list((self._old.get("weights") or {}).get("reweight_vars", {}))
        used = [str(item) for item in (*self._observed(), *self._old.get("new_variables", {}).values())]
        branches = [branch for text in used for branch in self._variables.branches(text)]
        for name in (*weights, *branches):
            if re.fullmatch(rf"(?i)(\w*jet|fj|ak\d+)\w*_{axis}", str(name)) and self._column(str(name), axis):
                return str(name)
        self._columns[f"jet_{axis}"] = f"jet_{axis}"
        self._note(f"preprocess.{axis}_column", f"no column looks like the jet's {axis}: 'jet_{axis}' is written")
        return f"jet_{axis}"

    def _observed(self) -> list[str]:
        names = (*self._old.get("observers", ()), *self._old.get("monitor_variables", ()))
        return list(dict.fromkeys(map(str, names)))

    def _weights(self) -> tuple[dict[str, Any], bool]:
        """Returns the reweighting, and whether rows have weights of their own."""
        weights = self._old.get("weights", {})
        if not weights:
            return {}, False
        if weights.get("use_precomputed_weights"):
            text = " * ".join(f"({branch})" for branch in weights.get("weight_branches", ()))
            return {}, self._weight_column(text, "weights: weight_branches")
        base = weights.get("reweight_basewgt")
        weighted = base is not None and self._weight_column(str(base), "weights: reweight_basewgt")
        return self._spectra(weights), weighted

    def _weight_column(self, text: str, where: str) -> bool:
        expression = self._expression(text, where)
        if expression is not None:
            self._columns["weight"] = expression
            self._note(
                where, "rows have this weight in the loss (training.event_weights: physics); weaver samples by it"
            )
        return expression is not None

    def _spectra(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        variables = weights.get("reweight_vars", {})
        classes = [str(name) for name in weights.get("reweight_classes", ())]
        if set(variables) != set(self._axes.values()) or not classes or classes[0] not in self._truths:
            where = f"weights: reweight_vars: {', '.join(map(str, variables))}"
            self._note(where, "spectra are reweighted in the jet's pt and eta, to that of one truth; left out")
            return {}
        bins = {axis: [float(edge) for edge in variables[self._axes[axis]]] for axis in ("pt", "eta")}
        if weights.get("reweight_method") == "flat":
            self._note("weights: reweight_method: flat", f"all truths get the spectrum of {classes[0]}, not a flat one")
        if len(set(weights.get("class_weights") or [1])) > 1:
            self._note(f"weights: class_weights: {weights['class_weights']}", "left out: all truths count the same")
        others = [name for name in self._truths if name not in classes]
        if others:
            self._note("weights: reweight_classes", f"{', '.join(others)} are reweighted, too; weaver drops them")
        for key in ("reweight_threshold", "reweight_hists"):
            if key in weights:
                self._note(f"weights: {key}", "left out: keep-probabilities come from the spectra alone")
        outside = "drop" if weights.get("reweight_discard_under_overflow", True) else "clip"
        binning = {**bins, "absolute_eta": False}
        return {"reference": classes[0], "bins": binning, "normalise": "reference", "outside": outside}

    def _model(self, classes: Mapping[str, list[str]]) -> dict[str, Any]:
        points = {tuple(names) for names in self._points.values() if names}
        model: dict[str, Any] = {"family": "tagger", "classes": dict(classes)}
        if self._targets:
            model |= {"classify": bool(classes), "regression": {item["name"]: {} for item in self._targets}}
        common = len(points) == 1 and all(self._points.get(name) for name in self._sets)
        if common:
            model |= {"coordinates": list(*points), "embedding": None if len(self._sets) == 1 else 32}
        elif points:
            self._note("inputs: points", "ParticleNet's coordinates are columns of the same names in all sets")
        if self._sets and all("vectors" in item for item in self._sets.values()):
            model["preset"] = "ParticleTransformer"
        else:
            model["preset"] = "ParticleNet" if common else "DeepJet" if self._sets else "MLP"
        self._note("model", f"the network is none of weaver's data config: {model['preset']} is written")
        return model

    def _say_the_rest(self) -> None:
        old = self._old
        if "treename" not in old:
            self._note("treename", "weaver takes the only tree of a file; here it has a name: 'tree' is written")
        for name, patterns in old.get("file_magic", {}).items():
            self._note(
                f"file_magic: {name}", f"no column can be made of a file's name ({', '.join(patterns)}): {_ABSENT}"
            )
        for name in old.get("branch_magic", {}):
            self._note(f"branch_magic: {name}", "branches have one name in all files of a dataset; left out")
        if "test_time_selection" in old:
            self._note("test_time_selection", f"what is read is selected once; left out: {old['test_time_selection']}")
        if "monitor_variables" in old:
            self._note("monitor_variables", "they are observers: kept beside the scores")
        if "bucketing" in old:
            self._note("bucketing", "left out: no result depends on how rows are put into batches")
        if str(old.get("preprocess", {}).get("method", "")).lower().startswith("auto"):
            self._note("preprocess: method: auto", "fitted on the training split (preprocess.fit_sample values of it)")


def _check(old: Any, name: str) -> None:
    """Checks that this is a data config, as far as it is gone through.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(old, Mapping):
        raise ConfigError("a data config of weaver is a mapping", where=name, got=type(old).__name__)
    for key in old:
        if key not in _KEYS:
            near = nearest_name(str(key), _KEYS)
            allowed = ", ".join(_KEYS)
            raise ConfigError("this key of weaver is not known", where=name, got=key, nearest=near, allowed=allowed)
    for key in ("inputs", "labels"):
        if not old.get(key):
            raise ConfigError("a data config of weaver has this key", where=name, got=f"no {key}")
    for key in ("inputs", "labels", "new_variables", "weights", "preprocess", "file_magic", "branch_magic"):
        if old.get(key) is not None and not isinstance(old[key], Mapping):
            raise ConfigError("this key of weaver is a mapping", where=f"{name}: {key}", got=old[key])
    for key in ("observers", "monitor_variables"):
        if old.get(key) is not None and not isinstance(old[key], list):
            raise ConfigError("this key of weaver is a list", where=f"{name}: {key}", got=old[key])
    for key, section in old["inputs"].items():
        if not isinstance(section, Mapping) or not isinstance(section.get("vars"), list) or not section["vars"]:
            raise ConfigError("an input has a list 'vars', and 'length'", where=f"{name}: inputs: {key}", got=section)
    simple = old["labels"].get("type", "simple") == "simple"
    if not isinstance(old["labels"].get("value"), list if simple else Mapping):
        form = "a list for type simple, a mapping for type custom"
        raise ConfigError("labels have a 'value'", where=f"{name}: labels", got=old["labels"], allowed=form)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status of the command, after writing the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="data config of weaver, a YAML file")
    parser.add_argument(
        "name", nargs="?", help="name of the new files, NAME.yaml and NAME_data.yaml, in the current folder"
    )
    given = parser.parse_args(arguments)
    name = given.name or re.sub(r"(\.\w{32})?\.auto$", "", given.config.stem)
    try:
        old = yaml.safe_load(given.config.read_text(encoding="utf-8"))
        dataset, experiment, notes = translate(old, name)
    except (OSError, yaml.YAMLError, HoneyguideError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    files = {f"{name}_data.yaml": dataset, f"{name}.yaml": experiment}
    for path in files:
        if Path(path).exists():
            sys.stderr.write(f"{path} is there already: choose another name\n")
            return 1
    for path, content in files.items():
        Path(path).write_text(yaml.safe_dump(content, sort_keys=False, width=100), encoding="utf-8")
    sys.stdout.write("\n".join([f"written: {name}.yaml, {name}_data.yaml", *notes]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
