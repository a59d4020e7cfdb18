"""A dataset and an experiment from a config of b-hive: ``python -m configs.from_b_hive hlt_run3.yml my_hlt``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from honeyguide.data.expressions import parse_expression
from honeyguide.errors import ConfigError, HoneyguideError

# b-hive's name of a group of candidates: key of the branches, key of the number, name here
_COLLECTIONS = {
    "cpf": ("cpf_candidates", "n_cpf_candidates"),
    "npf": ("npf_candidates", "n_npf_candidates"),
    "vtx": ("vtx_features", "n_vtx_candidates"),
    "lt": ("lt_candidates", "n_lt_candidates"),
    "pair": ("pair_candidates", "n_pair_candidates"),
}
_LEFT_OUT = {
    "processor": "one reader reads all; a processor of your own is named by dataset.reader.root.processor",
    "dataset": "one format of model inputs serves all models",
    "data_precision": "model inputs are float32",
    "process_weights": "give samples other numbers of files, or columns.weight and training.event_weights: physics",
}
# classes of the taggers of b-hive by the truths that they are made of, without "label_" and "is"
_CLASSES = {
    "b": ("b", "bb", "gbb", "leptonicb", "leptonicbc", "leptonicb_c"),
    "c": ("c", "cc", "gcc"),
    "uds": ("u", "d", "s", "ud", "uds"),
    "g": ("g",),
}
_WINDOW = {"pt_min", "pt_max", "eta_min", "eta_max"}
_NUMPY = re.compile(r"\b(np|ak|numpy|awkward)\.")


def translate(old: Mapping[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Returns the dataset, the experiment and notes on what has no counterpart, as plain YAML types.

    Columns are named as their branches are; all of them are features of the model, scaled to mean 0 and spread 1.

    Args:
        old: The content of b-hive's YAML file.
        name: Name of the new files.

    Raises:
        ConfigError: A key is unknown, needed and missing, or an expression is none that honeyguide allows.
    """
    known = {"bins_pt", "bins_eta", "treename", "truths", "processes", "reference_flavour", "global_features"}
    known |= {"global_custom_features", "pt_key", "eta_key", *_LEFT_OUT}
    for group, keys in _COLLECTIONS.items():
        known |= {*keys, f"{group}_custom_features", f"{keys[0]}_custom_features"}
    _check_forms(old, name)
    processes = [str(process) for process in old.get("processes", ["default"])]
    for key, value in old.items():
        if key not in known and not (isinstance(value, Mapping) and set(value) <= _WINDOW):
            raise ConfigError("this key of b-hive is not known", where=name, got=key, allowed=", ".join(sorted(known)))
    for key in ("treename", "truths", "global_features"):
        if key not in old:
            raise ConfigError("a config of b-hive has this key", where=name, got=f"no {key}")
    notes = [f"{key}: {why}" for key, why in _LEFT_OUT.items() if key in old]
    dataset = {"schema_version": 1, "reader": {"format": "root", "root": _reader(old)}, "samples": _samples(processes)}
    experiment = {"schema_version": 1, "dataset": f"{name}_data.yaml", "preprocess": _preprocess(old)}
    classes = _classes(list(old["truths"]))
    experiment |= {"model": {"family": "tagger", "classes": classes}, "tagging": _tagging(old, processes, classes)}
    return dataset, experiment, notes


def _check_forms(old: Any, name: str) -> None:
    """Checks that lists are lists and mappings are mappings, as far as they are gone through.

    Raises:
        ConfigError: One is not.
    """
    if not isinstance(old, Mapping):
        raise ConfigError("a config of b-hive is a mapping", where=name, got=type(old).__name__)
    lists = {"processes", "global_features", "bins_pt", "bins_eta", *(keys[0] for keys in _COLLECTIONS.values())}
    for key, value in old.items():
        custom = str(key).endswith("_custom_features") and value is not None
        if (key in lists or custom) and not isinstance(value, list):
            raise ConfigError("this key of b-hive is a list", where=f"{name}: {key}", got=value)
        if custom:
            _check_conditions(value, f"{name}: {key}")
    truths = old.get("truths", [])
    if not isinstance(truths, list | Mapping):
        raise ConfigError("truths are a list or a mapping", where=f"{name}: truths", got=truths)
    for label, conditions in truths.items() if isinstance(truths, Mapping) else ():
        _check_conditions(conditions, f"{name}: truths: {label}")


def _check_conditions(items: Any, where: str) -> None:
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ConfigError("this is a list of mappings, name: value", where=where, got=items)


def _reader(old: Mapping[str, Any]) -> dict[str, Any]:
    collections = {group: {"columns": columns} for group, columns in _candidates(old).items()}
    pt, eta = _keys(old)
    cuts = {}
    for label, branch, bins in (("pt", pt, old.get("bins_pt")), ("eta", eta, old.get("bins_eta"))):
        if bins:
            cuts[label] = f"{branch} >= {bins[0]} and {branch} < {bins[-1]}"
    return {
        "tree": old["treename"],
        "columns": _columns(old, "global", old["global_features"]),
        **({"collections": collections} if collections else {}),
        **({"cuts": cuts} if cuts else {}),
        "truths": {"definitions": _truths(old["truths"])},
    }


def _columns(old: Mapping[str, Any], group: str, branches: list[str]) -> dict[str, str]:
    columns = {branch: branch for branch in branches}
    for key in (f"{group}_custom_features", f"{_COLLECTIONS.get(group, ('',))[0]}_custom_features"):
        for item in old.get(key) or []:
            for column, text in item.items():
                columns[column] = parse_expression(_NUMPY.sub("", str(text)), where=f"{key}: {column}").text
    return columns


def _candidates(old: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Returns the columns of each group of candidates that b-hive keeps any of."""
    return {
        group: _columns(old, group, old[branches])
        for group, (branches, number) in _COLLECTIONS.items()
        if old.get(branches) and old.get(number, 1)
    }


def _truths(old: Any) -> Any:
    if isinstance(old, list):
        return old
    return {label: [dict(item) for item in conditions] for label, conditions in old.items()}


def _classes(truths: list[str]) -> dict[str, list[str]]:
    """Returns b, c, uds and g with their truths, and every other truth as a class of its own."""
    classes: dict[str, list[str]] = {}
    for truth in truths:
        plain = re.sub(r"^(label_|is)", "", truth).lower()
        name = next((name for name, members in _CLASSES.items() if plain in members), truth)
        classes.setdefault(name, []).append(truth)
    return classes


def _samples(processes: list[str]) -> dict[str, Any]:
    """Returns a sample for each process; the first one whose name is in a path takes the file, as in b-hive."""
    if processes == ["default"]:
        return {"default": {"process": "default", "generator": "unknown", "match": ["*"]}}
    samples: dict[str, Any] = {}
    for place, process in enumerate(dict.fromkeys(processes)):
        before = "|".join(re.escape(other) for other in list(dict.fromkeys(processes))[:place])
        pattern = f"re:^(?!.*({before})).*{re.escape(process)}" if before else f"re:{re.escape(process)}"
        sample = re.sub(r"[^A-Za-z0-9_-]", "_", process)
        samples[sample] = {"process": process, "generator": "unknown", "match": [pattern]}
    return samples


def _keys(old: Mapping[str, Any]) -> tuple[str, str]:
    return str(old.get("pt_key", "jet_pt")), str(old.get("eta_key", "jet_eta"))


def _preprocess(old: Mapping[str, Any]) -> dict[str, Any]:
    pt, eta = _keys(old)
    features = list(_columns(old, "global", old["global_features"]))
    section: dict[str, Any] = {
        "level": "row",
        "pt_column": pt,
        "eta_column": eta,
        # what was matched to the truth is no input
        "event_features": [{"name": name, "scaler": "standard"} for name in features if "gen" not in name.lower()],
        "sets": {
            group: {
                "size": int(old[_COLLECTIONS[group][1]]) if _COLLECTIONS[group][1] in old else 25,
                "features": [{"name": name, "scaler": "standard"} for name in columns],
            }
            for group, columns in _candidates(old).items()
        },
    }
    if "reference_flavour" in old:
        section["reweighting"] = {"reference": old["reference_flavour"]}
        if "bins_pt" in old and "bins_eta" in old:
            signed = old["bins_eta"][0] < 0
            section["reweighting"]["bins"] = {"pt": old["bins_pt"], "eta": old["bins_eta"], "absolute_eta": not signed}
    return section


def _tagging(old: Mapping[str, Any], processes: list[str], classes: Mapping[str, Any]) -> dict[str, Any]:
    windows = {}
    for process in processes:
        block = old.get(process)
        if isinstance(block, Mapping):
            eta = max(abs(block.get("eta_min", 0)), abs(block.get("eta_max", 5)))
            window = {"process": process, "pt": [block.get("pt_min", 0), block.get("pt_max", 1e6)], "eta": [0, eta]}
            windows[process] = window
    section: dict[str, Any] = {"windows": windows} if windows else {}
    if set(_CLASSES) <= set(classes):
        return {"groups": {"light": ["uds", "g"]}, **section}
    # none of the ready ones is made of these classes
    return {"discriminators": [], "working_points": {}, "plane_points": {}, **section}


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status of the command, after writing the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file of b-hive")
    parser.add_argument("name", help="name of the new files: NAME.yaml and NAME_data.yaml in the current folder")
    given = parser.parse_args(arguments)
    try:
        old = yaml.safe_load(given.config.read_text(encoding="utf-8"))
        dataset, experiment, notes = translate(old, given.name)
    except (OSError, yaml.YAMLError, HoneyguideError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path, content in ((f"{given.name}_data.yaml", dataset), (f"{given.name}.yaml", experiment)):
        if Path(path).exists():
            sys.stderr.write(f"{path} is there already: choose another name\n")
            return 1
        Path(path).write_text(yaml.safe_dump(content, sort_keys=False, width=100), encoding="utf-8")
    sys.stdout.write("\n".join([f"written: {given.name}.yaml, {given.name}_data.yaml", *notes]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
