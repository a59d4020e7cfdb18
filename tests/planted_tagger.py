"""Scores of a tagger with closed forms: the ratio of any two classes' probabilities is that of two known densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.input_spec import InputSpec
from honeyguide.io.scores import ScoresWriter

CLASSES = ("light", "b", "c")
SHIFT = {"b": 2.0, "c": 1.0, "light": 0.0}


def planted_probabilities(truth: Sequence[str], *, gain: float = 1.0, seed: int = 0) -> NDArray[np.float64]:
    """Returns P(class) of jets whose one observable x is Gaussian of width 1 around ``gain * SHIFT[truth]``.

    Every class has probability N(x; gain * SHIFT) / sum, so each discriminator of two classes is monotonic in x: its
    ROC curve is that of two Gaussians, Phi(mu - Phi^-1(1 - mistag)).
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=len(truth)) + gain * np.array([SHIFT.get(name, 0.5) for name in truth])
    log = -0.5 * (x[:, None] - gain * np.array([SHIFT[name] for name in CLASSES])) ** 2
    return np.asarray(np.exp(log) / np.exp(log).sum(1, keepdims=True))


def write_tagger_scores(folder: Path, *, sizes: Mapping[str, int], seed: int = 0, **options: Any) -> Path:
    """Returns the ``scores.h5`` of a sample with so many jets of each truth.

    Options: ``gain`` of the tagger, ``process``, ``truths`` (all names behind the codes), ``weight`` of each jet,
    ``probabilities``, ``observers`` (values of each jet by name).
    """
    names = np.repeat(list(sizes), list(sizes.values()))
    rng = np.random.default_rng(seed + 1000)
    size = len(names)
    truths = options.get("truths", ("b", "c", "light"))
    p = options.get("probabilities", planted_probabilities(names, gain=options.get("gain", 1.0), seed=seed))
    observers = options.get("observers", {})
    spec = InputSpec(
        level="row",
        shape=(0,),
        columns=(),
        processes=(options.get("process", "ttbar"),),
        generators=("g",),
        truths=tuple(truths),
        observers=tuple(observers),
    )
    known = {
        "event_id": np.arange(size) + (seed << 24),
        "weight": np.broadcast_to(options.get("weight", 1.0), size),
        "label": np.zeros(size),
        "process": np.zeros(size),
        "generator": np.zeros(size),
        "signal_point": np.full(size, -1),
        "truth": np.array([truths.index(name) for name in names]),
        "pt": np.exp(rng.uniform(np.log(20), np.log(500), size)),
        "eta": rng.uniform(-2.5, 2.5, size),
        "group": np.arange(size) // 2,
        **{f"observers/{name}": values for name, values in observers.items()},
    }
    scores = {f"prob_{name}": p[:, i] for i, name in enumerate(CLASSES)}
    folder.mkdir(parents=True)
    with ScoresWriter(
        folder, num_events=size, score_names=list(scores), latent_dim=0, spec=spec, classes=CLASSES, root=False
    ) as writer:
        writer.append(known, scores, np.zeros((size, 0)))
    return folder / "scores.h5"
