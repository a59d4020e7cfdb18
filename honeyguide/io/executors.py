"""coffea's executors: one process, several, or a Dask cluster, for pieces of work that leave their result in files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from honeyguide.errors import ConfigError, HoneyguideError
from honeyguide.io.settings import ReaderSettings

Item = TypeVar("Item")


def run(items: Sequence[Item], work: Callable[[Item], Any], settings: ReaderSettings, folder: Path) -> list[Any]:
    """Returns ``work`` of each item, in the order of the items, by the executor of the settings.

    Args:
        items: Pieces of work; they and ``work`` can be pickled.
        work: What is done with each.
        settings: The executor, its workers, its scheduler.
        folder: Where the processes can leave a mark for each other.

    Raises:
        ConfigError: There is no Dask, or no scheduler at the address.
        HoneyguideError: That of the first item that failed; items that were not begun by then are left out.
    """
    mark = folder / ".failed"
    with _executor(settings) as executor:
        found, _ = executor(list(enumerate(items)), _Guarded(work, mark), {}) if items else ({}, 0)
    mark.unlink(missing_ok=True)
    for index in sorted(found):
        if isinstance(found[index], HoneyguideError):
            raise found[index]
    return [found[index] for index in sorted(found)]


@dataclass(frozen=True)
class _Guarded(Generic[Item]):
    """Work whose errors are results: executors would print them with their traceback, and try again."""

    work: Callable[[Item], Any]
    mark: Path

    def __call__(self, numbered: tuple[int, Item]) -> dict[int, Any]:
        index, item = numbered
        if self.mark.exists():
            return {}
        try:
            return {index: self.work(item)}
        except HoneyguideError as error:
            self.mark.touch()
            return {index: error}


@contextlib.contextmanager
def _executor(settings: ReaderSettings) -> Iterator[Any]:
    from coffea import processor

    if not settings.parallel:
        yield processor.IterativeExecutor(status=False)
    elif settings.executor == "dask":
        with _client(str(settings.scheduler)) as client:
            yield processor.DaskExecutor(client=client, compression=None, status=False)
    else:
        # without compression the workers need not import coffea, which takes longer than all else that they import
        yield processor.FuturesExecutor(workers=settings.workers, compression=None, status=False)


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "Dask is not installed", where="executor: dask", hint="pip install dask distributed, or 'honeyguide[dask]'"
        ) from error
    try:
        return Client(address, timeout="10s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigError(
            "no Dask scheduler answers",
            where=address,
            got=error,
            hint="is it running? its address is tcp://host:port, as it says itself when it starts",
        ) from error
