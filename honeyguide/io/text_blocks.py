"""Text files of numbers in blocks of whole lines, checked to be text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import DataError

MAX_LINE_BYTES = 2**24
"""A longer line is no event but a file without line ends; it must not fill the memory."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEWLINE = ord("\n")


@dataclass(frozen=True)
class TextBlock:
    """Whole lines of a file, valid until the next block is read.

    Attributes:
        text: uint8, ends with a line end.
        first_line: Number of its first line in the file, counted from 1.
    """

    text: NDArray[np.uint8]
    first_line: int


def iter_text_blocks(path: Path, block_bytes: int) -> Iterator[TextBlock]:
    """Yields the lines of ``path`` in blocks of about ``block_bytes``, without byte order mark and header line.

    The header is the first line with content, if no cell of it is a number. A last line without line end gets one.

    Raises:
        DataError: The file is missing, empty, unreadable, not UTF-8 text, or has a line beyond ``MAX_LINE_BYTES``.
    """
    try:
        with path.open("rb", buffering=0) as file:
            yield from _skip_header(_iter_lines(path, file, block_bytes))
    except OSError as error:
        raise DataError(
            "a source file can't be read",
            where=path,
            got=error.strerror or error,
            hint="does it exist? may you read it?",
        ) from error


def _iter_lines(path: Path, file: BinaryIO, block_bytes: int) -> Iterator[TextBlock]:
    buffer = bytearray(block_bytes + 1)
    kept = line = offset = 0  # bytes of an unfinished line; lines and bytes yielded before
    while True:
        if kept >= len(buffer) - 1:
            buffer = _enlarge(path, buffer, line, offset)
        count = file.readinto(memoryview(buffer)[kept:-1])  # type: ignore[attr-defined]
        if count == 0 and kept == 0:
            break
        size = kept + count
        if count == 0:
            buffer[size] = _NEWLINE
            size += 1
        end = buffer.rfind(b"\n", kept, size) + 1
        if end == 0:
            kept = size
            continue
        text = np.frombuffer(buffer, np.uint8, end)
        _check_text(path, text, offset)
        yield TextBlock(text, line + 1)
        line += int(np.count_nonzero(text == _NEWLINE))
        offset += end
        kept = size - end
        buffer[:kept] = buffer[end:size]
    if offset == 0:
        raise DataError("a source file is empty", where=path, got="0 bytes")


def _enlarge(path: Path, buffer: bytearray, line: int, offset: int) -> bytearray:
    if len(buffer) > MAX_LINE_BYTES:
        _check_text(path, np.frombuffer(buffer, np.uint8)[:-1], offset, cut_off=True)
        raise DataError(
            "a source file has a line that is too long for an event",
            where=f"{path}, line {line + 1}",
            got=f"more than {len(buffer) - 1} bytes without a line end",
            hint="is this a CSV file, with line ends as on Linux or Windows?",
        )
    return buffer + bytearray(len(buffer))


def _check_text(path: Path, text: NDArray[np.uint8], offset: int, *, cut_off: bool = False) -> None:
    """Raises a DataError if ``text``, that stands at ``offset`` in the file, holds a NUL or is not UTF-8.

    Where it is ``cut_off``, its last character may be unfinished.
    """
    bad = int(np.argmin(text)) if text.min() == 0 else len(text)
    if text.max() >= 128:
        try:
            text[:bad].tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            if not (cut_off and error.reason == "unexpected end of data"):
                bad = error.start
    if bad < len(text):
        raise DataError(
            "a source file is not UTF-8 text",
            where=f"{path}, byte {offset + bad}",
            got=f"0x{int(text[bad]):02x}",
            hint="a binary, compressed, UTF-16 or damaged file? CSV has to be plain text",
        )


def _skip_header(blocks: Iterator[TextBlock]) -> Iterator[TextBlock]:
    """Yields the blocks without byte order mark and header."""
    searching = True
    for block in blocks:
        if not searching:
            yield block
            continue
        content = block.text.tobytes()
        line = block.first_line
        begin = len(_BYTE_ORDER_MARK) if line == 1 and content.startswith(_BYTE_ORDER_MARK) else 0
        while searching and begin < len(content):
            end = content.index(b"\n", begin) + 1
            cells = content[begin:end].strip(b", \t\r\n")
            searching = not cells
            if cells and any(_is_number(cell) for cell in cells.split(b",")):
                break
            begin = end
            line += 1
        if begin < len(content):
            yield TextBlock(block.text[begin:], line)


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
