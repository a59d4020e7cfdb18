"""The confusion matrix is scikit-learn's, with intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix as reference

from honeyguide.errors import DataError
from honeyguide.evaluation.confusion import confusion_matrix
from honeyguide.evaluation.efficiencies import make_jets

TRUTHS = ("b", "c", "light", "tau")
CLASSES = ("light", "c", "b")
CLASS_OF = np.array([2, 1, 0])  # of the truths that the model knows


def toy(num_jets=2000, weighted=True):
    rng = np.random.default_rng(4)
    truth = rng.integers(-1, 4, num_jets)
    p = rng.dirichlet(np.ones(3), num_jets)
    jets = make_jets(
        truth,
        TRUTHS,
        rng.uniform(10, 110, num_jets),
        rng.uniform(-3, 3, num_jets),
        rng.exponential(1, num_jets) if weighted else None,
    )
    return p, jets


@pytest.mark.parametrize("weighted", [False, True])
def test_matrix_agrees_with_scikit_learn(weighted):
    p, jets = toy(weighted=weighted)
    found = confusion_matrix(p, jets, CLASSES, confidence_level=0.68, min_jets=10)
    known = (jets.truth >= 0) & (jets.truth < 3)
    truth, weight = CLASS_OF[jets.truth[known]], jets.weight[known]
    for normalize, ours in ((None, found.sumw), ("true", found.fractions.value.T)):
        expected = reference(truth, p[known].argmax(1), sample_weight=weight, normalize=normalize, labels=range(3))
        np.testing.assert_allclose(ours[:3], expected[CLASS_OF], rtol=1e-9)
    np.testing.assert_allclose(found.fractions.value.sum(0), 1)
    assert found.sumw.sum() == pytest.approx(jets.weight[jets.truth >= 0].sum())  # tau has its row
    assert (found.fractions.low < found.fractions.value).all()
    assert (found.fractions.high > found.fractions.value).all()
    if not weighted:
        passed, total = int(found.sumw[0, 1]), int(found.sumw[0].sum())
        interval = binomtest(passed, total).proportion_ci(0.68, method="exact")
        np.testing.assert_allclose(found.fractions.low[1, 0], interval.low)
        np.testing.assert_allclose(found.fractions.high[1, 0], interval.high)


def test_a_row_of_too_few_jets_is_not_defined():
    p, jets = toy(30)
    few = make_jets(np.where(np.arange(30) < 4, 1, 0), TRUTHS, jets.pt, jets.eta)
    found = confusion_matrix(p, few, CLASSES, confidence_level=0.68, min_jets=5)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))["fractions"]
    reason = "4 effective jets, 5 are needed"
    assert values["c"]["light"] == {"efficiency": None, "effective_jets": 4, "reason": reason}
    assert values["b"]["light"]["efficiency"] == pytest.approx(found.fractions.value[0, 0])
    with pytest.raises(DataError, match="differ in number"):
        confusion_matrix(p[:20], few, CLASSES, confidence_level=0.68, min_jets=5)


def test_of_equally_probable_classes_the_first_is_taken():
    jets = make_jets([0], TRUTHS, [30], [0])
    found = confusion_matrix([[0.2, 0.4, 0.4]], jets, CLASSES, confidence_level=0.68, min_jets=1)
    assert found.sumw[0].tolist() == [0, 1, 0]
