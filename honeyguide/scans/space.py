"""What a scan varies: lists of values and ranges, and the points that a grid or a random scan has in them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from honeyguide.errors import ConfigError

Point = dict[str, str]
"""A value for each key, as text that ``--set`` understands."""
_TRIES = 50  # draws per point before a space counts as exhausted


@dataclass(frozen=True)
class Choices:
    """Some values.

    Attributes:
        texts: The values as text.
    """

    texts: tuple[str, ...]

    def at(self, share: float) -> str:
        """Returns the value at a share of the list, 0 to 1."""
        return self.texts[min(int(share * len(self.texts)), len(self.texts) - 1)]

    @property
    def ends(self) -> tuple[str, ...]:
        """Values that stand for all of them in a check: all of them."""
        return self.texts

    def __str__(self) -> str:
        return ",".join(self.texts)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, which are among them.

    Attributes:
        low: Lower end.
        high: Upper end.
        log: Whether they are equally dense in their logarithm.
        whole: Whether they are integers.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def at(self, share: float) -> str:
        """Returns the number at a share of the range, 0 to 1; it has 6 digits, so that people can type it."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        value = math.exp(math.log(low) + share * math.log(high / low)) if self.log else low + share * (high - low)
        if self.whole:
            return str(min(math.floor(value), int(self.high)))
        return repr(min(max(float(f"{value:.6g}"), self.low), self.high))

    @property
    def ends(self) -> tuple[str, ...]:
        """Both ends: values that stand for all of them in a check."""
        return tuple(str(int(end)) if self.whole else repr(end) for end in (self.low, self.high))

    def __str__(self) -> str:
        form = {(False, False): "uniform", (True, False): "log", (False, True): "int", (True, True): "logint"}
        return f"{form[self.log, self.whole]}({','.join(self.ends)})"


Space = Mapping[str, Choices | Range]


def grid(space: Space) -> list[Point]:
    """Returns all combinations; the last key changes fastest.

    Raises:
        ConfigError: There is a range in it.
    """
    for key, values in space.items():
        if isinstance(values, Range):
            raise ConfigError(
                "a grid has lists of values, and this is a range",
                where=f"--scan {key}",
                got=values,
                hint="list the values, or use --method random or --method optuna",
            )
    lists = [values.texts for values in space.values() if isinstance(values, Choices)]
    return [dict(zip(space, combination, strict=True)) for combination in itertools.product(*lists)]


def random_points(space: Space, number: int, *, seed: int) -> list[Point]:
    """Returns points that are drawn at random, no two of them the same.

    More points begin with the same ones, and another key does not change the values of those that were there.

    Raises:
        ConfigError: There are fewer points in the space.
    """
    found: dict[tuple[str, ...], Point] = {}
    for draw in range(_TRIES * number):
        point = {key: values.at(random.Random(f"{seed} {key} {draw}").random()) for key, values in space.items()}
        found.setdefault(tuple(point.values()), point)
        if len(found) == number:
            return list(found.values())
    raise ConfigError("the space has too few points", where="--points", got=number, allowed=f"about {len(found)}")
