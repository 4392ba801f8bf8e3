"""The trials of ``python -m tools.doctor --gpu``, in the order in which they run (no TF).

Trials that launch processes come first: later ones leave memory of the GPU in use.
"""

from __future__ import annotations

from tools.doctor.checks import Check
from utils.config import CLASSIFIERS, DETECTORS

_CARDS, _LAUNCHES, _PARTS = (f"tools.doctor.gpu.{module}" for module in ("cards", "launches", "parts"))
_STEP = "tools.doctor.gpu.training_step:network"

TRIALS = (
    Check(name="memory_options", probe=f"{_LAUNCHES}:memory_options", seconds=300),
    Check(name="exact_resume", probe=f"{_LAUNCHES}:exact_resume", seconds=600),
    Check(name="two_processes", probe=f"{_LAUNCHES}:two_processes", seconds=600),
    Check(name="all_reduce", probe=f"{_PARTS}:all_reduce", seconds=300),
    Check(name="dali_on_gpu", probe=f"{_PARTS}:dali", seconds=120),
    Check(name="matrix_peak", probe=f"{_CARDS}:matrix_peak", seconds=120),
    Check(name="grouped_as_split", probe=f"{_PARTS}:grouped_convolution", seconds=120),
    Check(name="loss_scaling", probe=f"{_PARTS}:loss_scaling"),
    *(Check(name=name, probe=f"{_STEP}:{name}", seconds=300) for name in (*CLASSIFIERS, *DETECTORS)),
)
