"""The CSV reader against an independent one in plain Python, and against bad files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.events import EventBlock
from honeyguide.errors import DataError
from honeyguide.io import bead_csv, text_blocks
from honeyguide.io.bead_csv import BeadCsvFile
from honeyguide.io.settings import ReaderSettings

HEADER = "evtwt,met,metphi,njets,npart,isbtagged,pid,pt,eta,phi"
JET = "2,1,211,10.5,0.25,1.5,-22,20.25,0.5,1.75"
GOOD = f"0.5,120,3.5,1,{JET}"


def read(path: Path, **options) -> tuple[BeadCsvFile, list[EventBlock]]:
    file = BeadCsvFile(path, ReaderSettings(**options))
    return file, list(file.iter_blocks())


def write(folder: Path, *lines: str | bytes, end: bytes = b"\n") -> Path:
    path = folder / "events.csv"
    path.write_bytes(end.join(line if isinstance(line, bytes) else line.encode() for line in lines) + end)
    return path


def nested(blocks: list[EventBlock]) -> list[tuple]:
    """Returns the events as (weight, met, met_phi, [(btag, [(pdg_id, pt, eta, phi), ...]), ...])."""
    events = []
    for block in blocks:
        jets, constituents = block.collections["jets"], block.collections["constituents"]
        for i in range(len(block)):
            found = []
            for j in range(jets.offsets[i], jets.offsets[i + 1]):
                span = slice(constituents.offsets[j], constituents.offsets[j + 1])
                columns = [constituents.columns[name][span].tolist() for name in ("pdg_id", "pt", "eta", "phi")]
                found.append((int(jets.columns["btag"][j]), list(zip(*columns, strict=True))))
            event = block.events
            events.append((float(event["weight"][i]), float(event["met"][i]), float(event["met_phi"][i]), found))
    return events


def wrapped(phi: float) -> float:
    angle = math.remainder(phi, 2 * math.pi)
    limit = float(np.nextafter(np.float32(math.pi), np.float32(0)))
    return min(max(float(np.float32(angle)), -limit), limit)


def read_in_python(rows: list[str]) -> list[tuple]:
    """Returns the same as nested(), by a loop over cells; None for a row that is malformed."""
    events = []
    for row in rows:
        cells = iter([cell for cell in row.split(",") if cell.strip()])
        number = lambda cells=cells: float(np.float32(float(next(cells))))  # noqa: E731
        weight, met, met_phi, num_jets = float(next(cells)), number(), wrapped(float(next(cells))), int(next(cells))
        jets = []
        for _ in range(num_jets):
            size, btag = int(next(cells)), int(next(cells))
            jets.append(
                (btag, [(int(next(cells)), number(), number(), wrapped(float(next(cells)))) for _ in range(size)])
            )
        assert next(cells, None) is None
        events.append((weight, met, met_phi, jets))
    return events


def floats(low: float, high: float) -> st.SearchStrategy[str]:
    forms = st.sampled_from(["", ".3g", ".7g", ".17g", ".18e", ".25f"])
    return st.builds(format, st.floats(low, high), forms)


constituents = st.tuples(
    st.sampled_from(["22", "-211", "1000020040", "+11"]), floats(0, 1e5), floats(-6, 6), floats(-7, 13)
).map(",".join)
jets = st.builds(
    lambda btag, parts: ",".join([str(len(parts)), btag, *parts]),
    st.sampled_from(["0", "1"]),
    st.lists(constituents, max_size=4),
)
rows = st.builds(
    lambda head, found, padding: ",".join([*head, str(len(found)), *found]) + padding,
    st.tuples(floats(-1e7, 1e7), floats(0, 1e4), floats(-7, 7)),
    st.lists(jets, max_size=4),
    st.sampled_from(["", ",", ",,,,", " , ,\t"]),
)


@given(
    st.lists(st.one_of(rows, st.sampled_from(["", ",,,", "  "])), min_size=1, max_size=12).filter(
        lambda lines: any(line.strip(", ") for line in lines)
    ),
    st.sampled_from(["", HEADER + "\n", "\ufeff" + HEADER + ",,,\n", "\ufeff", "\n\n"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from([16, 17, 100, 1000, 2**20]),
)
@settings(max_examples=120, deadline=None)
def test_any_layout_reads_as_the_plain_python_reader_reads_it(
    tmp_path_factory, lines, header, end, last_end, block_bytes
):
    path = tmp_path_factory.getbasetemp() / "property.csv"
    text = header.replace("\n", end) + end.join(lines) + (end if last_end else "")
    path.write_bytes(text.encode())
    file, blocks = read(path, block_bytes=block_bytes)
    content = [line for line in lines if line.strip(", \t")]
    assert nested(blocks) == read_in_python(content)
    assert file.num_rows == file.num_selected == len(content)
    assert np.concatenate([block.events["id"] for block in blocks]).tolist() == list(range(len(content)))


def test_every_event_of_beads_own_sample(shared_data):
    for path in sorted((shared_data / "bead").glob("*.csv")):
        lines = path.read_text().splitlines()[1:]
        content = [line for line in lines if line.strip(", \r")]
        for block_bytes in (4096, 2**20):
            file, blocks = read(path, block_bytes=block_bytes)
            assert file.num_selected == len(content) >= 9
            assert nested(blocks) == read_in_python(content)


def test_jets_are_the_massless_sums_of_their_constituents(shared_data):
    vector = pytest.importorskip("vector")
    _, (block, _) = read(shared_data / "bead" / "bkg_train_herwig.csv")
    jets, constituents = block.collections["jets"], block.collections["constituents"]
    for j in range(len(jets)):
        span = slice(constituents.offsets[j], constituents.offsets[j + 1])
        pt, eta, phi = (constituents.columns[name][span].astype(np.float64) for name in ("pt", "eta", "phi"))
        total = vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": np.zeros(len(pt))}).sum()
        assert jets.columns["pt"][j] == pytest.approx(total.pt, rel=1e-5)
        assert jets.columns["eta"][j] == pytest.approx(total.eta, abs=1e-5)
        assert math.remainder(jets.columns["phi"][j] - total.phi, 2 * math.pi) == pytest.approx(0, abs=1e-5)
        assert jets.columns["mass"][j] == pytest.approx(total.mass, rel=1e-3)


def test_closed_form_of_a_two_constituent_jet(tmp_path):
    # back to back in eta: m^2 = 2 pt1 pt2 (cosh(deta) - cos(dphi))
    path = write(tmp_path, "1,0,0,3,2,0,22,30,1,0.2,22,50,-1,0.7,1,0,22,5,2,3.5,0,1")
    _, (block,) = read(path)
    columns = block.collections["jets"].columns
    mass = math.sqrt(2 * 30 * 50 * (math.cosh(2) - math.cos(0.5)))
    assert columns["mass"].tolist() == pytest.approx([mass, 0, 0], rel=1e-6, abs=1e-5)
    assert columns["pt"].tolist() == pytest.approx([math.sqrt(900 + 2500 + 3000 * math.cos(0.5)), 5, 0], rel=1e-6)
    assert columns["eta"][1:].tolist() == pytest.approx([2, 0])
    assert columns["phi"][1:].tolist() == pytest.approx([3.5 - 2 * math.pi, 0])


def test_events_without_jets_stay_aligned(tmp_path):
    _, (block,) = read(write(tmp_path, HEADER, GOOD, "2,130,1,0", GOOD))
    assert block.collections["jets"].counts.tolist() == [1, 0, 1]
    assert block.events["weight"].tolist() == [0.5, 2, 0.5]
    assert block.collections["constituents"].counts.tolist() == [2, 2]


def test_angles_end_up_between_minus_pi_and_pi(tmp_path):
    angles = [0, math.pi, -math.pi, 2 * math.pi, 6.2831, 3.1415927, -3.1415927, 100.0]
    _, (block,) = read(write(tmp_path, *(f"1,1,{phi!r},0" for phi in angles)))
    stored = block.events["met_phi"].astype(np.float64)
    assert np.all((stored > -math.pi) & (stored <= math.pi))
    assert np.allclose(np.cos(stored), np.cos(angles), atol=1e-6)
    assert np.allclose(np.sin(stored), np.sin(angles), atol=1e-6)


@pytest.mark.parametrize(
    ("row", "reason", "place"),
    [
        ("1,100,0", "too_few_cells", "after its last cell"),
        ("1,100,0,1,2,0,22,5,0,0,22,5,0", "too_few_cells", "after its last cell"),
        ("1,100,0,1,2,0,22,5,0,0,,,,,", "too_few_cells", "after its last cell"),
        ("1,100,0,2," + JET, "too_few_cells", "after its last cell"),
        (GOOD + ",7", "too_many_cells", "cell 15: '7'"),
        ("1,100,0,1,1,0,22,,0,0", "empty_cell", "cell 8: ''"),
        ("1,1oo,0,0", "not_a_number", "cell 2: '1oo'"),
        ("nan,100,0,0", "nan_or_infinite", "cell 1: 'nan'"),
        ("1,100,0,1,1,0,22,inf,0,0", "nan_or_infinite", "cell 8: 'inf'"),
        ("1,1e999,0,0", "nan_or_infinite", "cell 2: '1e999'"),
        ("1,1e39,0,0", "out_of_range", "cell 2: '1e39'"),
        ("1,100,0,1,1,0,22,5,1000,0", "out_of_range", "cell 9: '1000'"),
        ("1,-100,0,0", "negative_met", "cell 2: '-100'"),
        ("1,100,0,1,1,0,22,-5,0,0", "negative_pt", "cell 8: '-5'"),
        ("1,100,0,-1", "bad_count", "cell 4: '-1'"),
        ("1,100,0,1.5", "bad_count", "cell 4: '1.5'"),
        ("1,100,0,1,0.5,0", "bad_count", "cell 5: '0.5'"),
        ("1,100,0,1,0,2", "bad_btag", "cell 6: '2'"),
        ("1,100,0,1,1,0,22.5,5,0,0", "bad_pdg_id", "cell 7: '22.5'"),
    ],
)
def test_a_malformed_row_is_named_with_its_reason_and_place(tmp_path, row, reason, place):
    path = write(tmp_path, HEADER, GOOD, "", row, row, GOOD)
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{reason} 2)" in str(caught.value)
    assert "2 of 4 rows rejected" in str(caught.value)
    assert f"{reason}: {path}, line 4, {place}" in str(caught.value)
    with pytest.raises(DataError):
        read(path, tolerance=0.49)
    for block_bytes in (16, 2**20):
        file, blocks = read(path, tolerance=0.5, block_bytes=block_bytes)
        assert file.rejected == {reason: 2}
        assert file.first_rejected[reason].line == 4
        assert nested(blocks) == read_in_python([GOOD, GOOD])
        assert [i for block in blocks for i in block.events["id"]] == [0, 3], "ids are row indices in the file"


def test_a_truncated_last_row_is_rejected(tmp_path):
    path = tmp_path / "cut.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n{GOOD[:-12]}")
    with pytest.raises(DataError, match=r"1 of 2 rows rejected \(too_few_cells 1\)"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER.encode(), "has no events"),
        (HEADER.encode() + b"\n\n,,,\r\n", "has no events"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "not UTF-8 text"),
        (GOOD.encode() + b"\n1,2\x00,3\n", f"byte {len(GOOD) + 4}"),
        (GOOD.encode() + b"\n1,\xff2,3\n", f"byte {len(GOOD) + 3}"),
        (GOOD.encode("utf-16"), "UTF-16"),
    ],
)
@pytest.mark.parametrize("block_bytes", [16, 2**20])
def test_a_file_that_is_no_csv_is_an_error(tmp_path, content, message, block_bytes):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path, tolerance=1.0, block_bytes=block_bytes)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(DataError, match="can't be read"):
            read(path)


def test_a_file_without_line_ends_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "MAX_LINE_BYTES", 2**16)
    path = tmp_path / "endless.csv"
    path.write_bytes(b"1," * 2**18)
    with pytest.raises(DataError, match="too long for an event"):
        read(path, block_bytes=4096)
    path.write_bytes("é".encode() * 2**18)
    with pytest.raises(DataError, match="too long for an event"):
        read(path, block_bytes=4095)


def test_more_rows_than_event_ids_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(bead_csv, "MAX_ROWS_PER_FILE", 10)
    path = write(tmp_path, HEADER, *[GOOD] * 10)
    assert read(path, block_bytes=64)[0].num_selected == 10
    path = write(tmp_path, HEADER, *[GOOD] * 11)
    with pytest.raises(DataError, match="too many rows"):
        read(path, block_bytes=64)


def test_a_row_longer_than_a_block_is_read(tmp_path):
    row = "1,100,0,1,2000,0," + ",".join(["22,1,0,0"] * 2000)
    _, (block,) = read(write(tmp_path, row), block_bytes=100)
    assert block.collections["jets"].columns["pt"].tolist() == [2000.0]
