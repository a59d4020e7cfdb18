"""What to do where a GPU was asked for and there is none."""

from __future__ import annotations

import os
import platform


def without_gpu(device: str) -> str | None:
    """Returns what to say where a GPU was asked for, by the job or by ``device``, and torch sees none; else None."""
    import torch

    in_vain = device.startswith("cuda") or (device == "auto" and os.environ.get("HONEYGUIDE_GPUS", "0") != "0")
    if not in_vain or torch.cuda.is_available():
        return None
    return f"a GPU was asked for, and torch sees none on {platform.node()}: computing on the CPU"
