"""Which events train, validate and test: decided by a hash of the event id alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
SplitRule = Literal["hash", "train", "test"]

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 0xFFFFFFFFFFFFFFFF


def hash_ids(event_id: NDArray[np.int64], *, salt: int = 0) -> NDArray[np.uint64]:
    """Returns a well mixed 64-bit hash of each id, shape (num_events,); another ``salt`` gives an unrelated hash.

    The mixing is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), applied to the salt and then to the
    id shifted by the mixed salt. It is a bijection of the ids, so distinct ids never share a hash.
    """
    shift = _mix(np.array([salt & _WORD], dtype=np.uint64))[0]
    return _mix(np.asarray(event_id, dtype=np.int64).view(np.uint64) ^ shift)


def uniform(event_id: NDArray[np.int64], *, salt: int = 0) -> NDArray[np.float64]:
    """Returns a number in [0, 1) for each id, shape (num_events,), that depends on the id and the salt only."""
    return (hash_ids(event_id, salt=salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def split_codes(
    event_id: NDArray[np.int64],
    *,
    validation: float,
    test: float,
    rule: SplitRule = "hash",
    salt: int = 0,
) -> NDArray[np.int8]:
    """Returns the split of each event as an index into ``SPLITS``, shape (num_events,).

    The same id gets the same split whatever the order of the files or the size of the blocks. Under the rule ``hash``
    a fraction ``test`` of the events is for testing, ``validation`` for validation, and the rest trains. Under the rule
    ``test`` all are for testing. Under ``train`` none are: those that the hash would put there train, so that a
    fraction ``validation`` is left for early stopping.
    """
    if rule == "test":
        return np.full(len(event_id), TEST, dtype=np.int8)
    number = uniform(event_id, salt=salt)
    codes = np.full(len(number), TRAIN, dtype=np.int8)
    codes[number < validation + test] = TEST if rule == "hash" else TRAIN
    codes[number < validation] = VALIDATION
    return codes


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result
