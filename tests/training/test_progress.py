"""What a training shows."""

from __future__ import annotations

import io

from rich.console import Console

from honeyguide.training.progress import TerminalProgress

RECORD = {
    "epoch": 0,
    "train": {"reconstruction": 1.5, "kl": 2.25, "total": 1.75},
    "validation": {"reconstruction": 1.25, "kl": 2.5, "total": 1.625},
    "events_per_second": 12345.6,
}


def show(console: Console) -> str:
    with TerminalProgress(console) as progress:
        progress.start(num_epochs=2, num_events=100)
        progress.batch(50)
        progress.batch(50)
        progress.epoch(RECORD)
    return console.file.getvalue()


def test_a_line_per_epoch_where_there_is_no_terminal():
    text = show(Console(file=io.StringIO(), force_terminal=False, width=60))
    assert text == "epoch 1/2  12,346 events/s  reconstruction 1.5/1.25  kl 2.25/2.5  total 1.75/1.625\n"


def test_a_bar_with_rate_and_every_term_in_a_terminal():
    text = show(Console(file=io.StringIO(), force_terminal=True, width=200))
    assert "events/s" in text
    assert "epoch 2/2" in text
    for name in RECORD["train"]:
        assert name in text
