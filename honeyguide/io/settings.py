"""Settings of the readers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from honeyguide.io.array_settings import ArrayReaderSettings
from honeyguide.io.root_settings import RootReaderSettings
from honeyguide.settings import Settings, insignificant


class ReaderSettings(Settings):
    """How source files are read."""

    format: Literal["bead_csv", "root", "arrays"] = "bead_csv"
    """Layout of the files. ``bead_csv``: ``weight, met, met_phi, njets, {npart, btag, {pid, pt, eta, phi} ..} ..``;
    ``root``: trees, as ``root`` says; ``arrays``: padded arrays of particles in npz or HDF5, as ``arrays`` says. Of
    simulated samples ``root`` reads ``jets.root``."""
    root: RootReaderSettings | None = None
    """What is read from ROOT files; for ``format: root``."""
    arrays: ArrayReaderSettings | None = None
    """What is read from npz and HDF5 files; for ``format: arrays``."""
    tolerance: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of the rows of a CSV file that may be rejected (malformed, not finite) before that is an error; ROOT
    files and arrays have their own in ``root`` and ``arrays``."""
    block_bytes: int = insignificant(2**20, ge=16, description="Bytes of a CSV file that are parsed at once.")
    debug: bool = False
    """A quick try-out: the first file of each sample only, and of a ROOT file or of arrays the first chunk."""
    chunk_size: int = insignificant(
        100_000, ge=1, description="Entries of a ROOT file that are one piece of work and one shard of the store."
    )
    executor: Literal["auto", "iterative", "futures", "dask"] = insignificant(
        "auto",
        description="Which of coffea's executors reads ROOT files: one process, several of this machine, or those of a "
        "Dask cluster. ``auto``: ``futures`` where there are several workers.",
    )
    workers: int = insignificant(1, ge=1, description="Processes of ``futures``.")
    scheduler: str | None = insignificant(
        None,
        description="Address of the scheduler for ``dask``, e.g. ``tcp://host:8786``; its workers see the same files. "
        "``slurm``, ``htcondor``: a cluster of their jobs, as the site's section ``[dask_jobs]`` says.",
    )

    @property
    def parallel(self) -> bool:
        """Whether several processes read ROOT files."""
        return self.executor in ("futures", "dask") or (self.executor == "auto" and self.workers > 1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in ("root", "arrays"):
            if (self.format == name) != (getattr(self, name) is not None):
                raise ValueError(f"'format: {name}' and the section '{name}' go together")
        if (self.executor == "dask") != (self.scheduler is not None):
            raise ValueError("'executor: dask' and 'scheduler', its address, go together")
        return self
