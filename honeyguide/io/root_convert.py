"""ROOT files into shards of an event store: pieces of files, each by itself, and the same rows however they are cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honeyguide.data.sample import SampleInfo
from honeyguide.io.event_store import EventStoreWriter, add_to_ids
from honeyguide.io.executors import run
from honeyguide.io.root_reader import RootFile
from honeyguide.io.root_settings import RootReaderSettings
from honeyguide.io.root_sources import RootSource
from honeyguide.io.root_tree import RootTree, UnreadableFileError
from honeyguide.io.settings import ReaderSettings

_PIECES_PER_WORKER = 4


@dataclass(frozen=True)
class RootPiece:
    """Some entries of a file: one piece of work.

    Attributes:
        index: Which of the pieces it is.
        source: The file.
        identity: What the shard says of the file, its name and hash among it.
        id_key: High bits of the ids.
        ranges: Ranges of entries, as :class:`RootFile` reads them; empty where the file could not be opened.
    """

    index: int
    source: RootSource
    identity: Mapping[str, Any]
    id_key: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PieceWriter:
    """Writes pieces; an object, so that it can be sent to other processes."""

    folder: Path
    sample: SampleInfo
    settings: RootReaderSettings

    def __call__(self, piece: RootPiece) -> RootFile:
        """Returns the counts of a piece, after writing its shard."""
        file = RootFile(
            piece.source, self.settings, process=self.sample.process, id_key=piece.id_key, ranges=piece.ranges
        )
        shard, num_blocks = self.shard(piece), 0
        with EventStoreWriter(shard, sample=self.sample, truths=file.truth_names) as writer:
            for num_blocks, block in enumerate(file.iter_blocks(), start=1):  # noqa: B007
                writer.append(block)
            writer.finalise(read=file.num_rows, rejected=file.rejected, sources=[piece.identity])
        if not num_blocks:  # of a file that is skipped: a shard without columns is of no use
            shard.unlink()
        return file

    def shard(self, piece: RootPiece) -> Path:
        """Returns where a piece is written."""
        return self.folder / f"events-{piece.index:05d}.h5"


def convert_root(
    sources: Mapping[RootSource, tuple[int, Mapping[str, Any]]],
    writer: PieceWriter,
    settings: ReaderSettings,
) -> list[RootFile]:
    """Returns the counts of each file, after writing a shard for each of its pieces.

    Args:
        sources: The files, with the high bits of their ids and what the shards say of them.
        writer: Where and what is written.
        settings: Size of the pieces, and who works on them.

    Raises:
        ConfigError: There is nobody to work on them.
        DataError: As of :class:`RootFile`.
    """
    ranges = [_ranges(source, writer.settings, settings.chunk_size) for source in sources]
    pieces = list(_pieces(sources, ranges, settings))
    counts = run(pieces, writer, settings, writer.folder)
    return list(_files(pieces, counts, writer))


def _ranges(source: RootSource, settings: RootReaderSettings, chunk_size: int) -> list[tuple[int, int]]:
    """Returns ranges of a file's entries; none where it is damaged: who reads it says what to do about it."""
    try:
        with RootTree(source, settings.tree) as tree:
            return tree.ranges(settings.branches if settings.names_branches else (), chunk_size)
    except UnreadableFileError:
        return []


def _pieces(
    sources: Mapping[RootSource, tuple[int, Mapping[str, Any]]],
    ranges: Sequence[list[tuple[int, int]]],
    settings: ReaderSettings,
) -> Iterator[RootPiece]:
    """Yields what is to be done: by one process file by file, by several parts of files; the rows are the same."""
    index, size = 0, _ranges_per_piece(sum(map(len, ranges)), settings)
    for (source, (id_key, identity)), found in zip(sources.items(), ranges, strict=True):
        wanted = found[:1] if settings.debug else found
        for start in range(0, max(len(wanted), 1), size):
            yield RootPiece(index, source, identity, id_key, tuple(wanted[start : start + size]))
            index += 1


def _ranges_per_piece(num_ranges: int, settings: ReaderSettings) -> int:
    """Returns how many ranges of a file are one piece: few pieces cost less, several per worker end at one time."""
    if not settings.parallel:
        return max(num_ranges, 1)
    return 1 if settings.executor == "dask" else max(num_ranges // (_PIECES_PER_WORKER * settings.workers), 1)


def _files(pieces: Sequence[RootPiece], counts: Sequence[RootFile], writer: PieceWriter) -> Iterator[RootFile]:
    """Yields the counts of whole files; ids in the shards then count through their file."""
    for source in dict.fromkeys(piece.source for piece in pieces):
        mine = [piece for piece in pieces if piece.source == source]
        whole = counts[mine[0].index]
        for piece in mine[1:]:
            part = counts[piece.index]
            if whole.unreadable is not None:  # what comes after a gap would have other ids than without it
                writer.shard(piece).unlink(missing_ok=True)
            elif part.num_selected:
                add_to_ids(writer.shard(piece), whole.num_rows)
            whole.extend(part)
        whole.check()
        yield whole
