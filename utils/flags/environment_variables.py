"""Environment variables that stand for flags; a flag takes precedence. Imports no TensorFlow.

===============================================  =================================================================
``TF_ENABLE_AUTO_MIXED_PRECISION``               1 is ``--amp``
``TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE``  1 is ``--amp``
``TF_ENABLE_AUTO_MIXED_PRECISION_LOSS_SCALING``  0 keeps the casts of ``--amp`` and drops its dynamic loss scaling
``TF_XLA_FLAGS``                                 ``--tf_xla_auto_jit=1``, ``2``, ``fusible``, ... in it is ``--xla``
``NVIDIA_TF32_OVERRIDE``                         0 is ``--no_tf32``
===============================================  =================================================================

NVIDIA's builds of TensorFlow read the first three; stock TensorFlow does not. An empty variable counts as not set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from utils.errors import UsageError

AMP_VARIABLES = ("TF_ENABLE_AUTO_MIXED_PRECISION", "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE")
LOSS_SCALING_VARIABLE = "TF_ENABLE_AUTO_MIXED_PRECISION_LOSS_SCALING"
XLA_VARIABLE = "TF_XLA_FLAGS"
TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_AUTO_JIT = re.compile(r"--?tf_xla_auto_jit=(\S*)")
_JIT_OFF = ("0", "-1")
_CPU_JIT = re.compile(r"--?tf_xla_cpu_global_jit(?:=(\S*))?")
_JIT_ON = re.compile(r"[12]|fusible|(?:fusible|single-gpu)\([12]\)")


def compiles_on_cpus(environ: Mapping[str, str]) -> bool:
    """Returns whether ``TF_XLA_FLAGS`` has XLA compile operations on CPUs."""
    found = _CPU_JIT.findall(environ.get(XLA_VARIABLE, ""))
    return bool(found) and found[-1] not in ("false", "0")


@dataclass(frozen=True, slots=True)
class RequestedPrecision:
    """Precision and compilation as requested by flags and variables together, with sentences for the log."""

    amp: bool
    loss_scaling: bool
    xla: bool
    tf32: bool
    notes: tuple[str, ...]


def combine(
    *, amp: bool, xla: bool, no_tf32: bool, static_scale: float | None, environ: Mapping[str, str]
) -> RequestedPrecision:
    """Combines the flags of these names with the environment variables.

    Raises:
        UsageError: A variable has an invalid value; the message names the variable.
    """
    notes: list[str] = []
    asked_amp = _combine_amp(amp, environ, notes)
    scaling = _boolean(LOSS_SCALING_VARIABLE, environ)
    if scaling is False and asked_amp and static_scale is not None:
        notes.append(f"--static_loss_scale {static_scale:g} wins over {LOSS_SCALING_VARIABLE}=0")
    elif scaling is False and asked_amp:
        notes.append(f"{LOSS_SCALING_VARIABLE}=0: mixed precision runs without loss scaling")
    asked_xla = _combine_xla(xla, environ, notes)
    tf32_off = environ.get(TF32_VARIABLE, "").strip() == "0"
    if tf32_off and not no_tf32:
        notes.append(f"{TF32_VARIABLE}=0 means --no_tf32")
    return RequestedPrecision(
        amp=asked_amp,
        loss_scaling=not (scaling is False and asked_amp and static_scale is None),
        xla=asked_xla,
        tf32=not (no_tf32 or tf32_off),
        notes=tuple(notes),
    )


def auto_jit(environ: Mapping[str, str]) -> str | None:
    """The last value of ``--tf_xla_auto_jit`` in ``TF_XLA_FLAGS``; None if there is none."""
    values = _AUTO_JIT.findall(environ.get(XLA_VARIABLE, ""))
    return values[-1] if values else None


def _combine_amp(flag: bool, environ: Mapping[str, str], notes: list[str]) -> bool:
    values = {name: _boolean(name, environ) for name in AMP_VARIABLES}
    enabling = [name for name in AMP_VARIABLES if values[name]]
    disabling = [name for name in AMP_VARIABLES if values[name] is False]
    for name in disabling:
        if flag:
            notes.append(f"--amp wins over {name}={environ[name]}")
        elif enabling:
            notes.append(f"{enabling[0]}={environ[enabling[0]]} wins over {name}={environ[name]}")
    if enabling and not flag:
        notes.append(f"{enabling[0]}={environ[enabling[0]]} means --amp")
    return flag or bool(enabling)


def _combine_xla(flag: bool, environ: Mapping[str, str], notes: list[str]) -> bool:
    value = auto_jit(environ)
    if value is None:
        return flag
    if value in _JIT_OFF:
        if flag:
            notes.append(f"--xla wins over --tf_xla_auto_jit={value} in {XLA_VARIABLE}")
        return flag
    if not _JIT_ON.fullmatch(value):
        raise UsageError(
            f"{XLA_VARIABLE}={environ[XLA_VARIABLE]}: --tf_xla_auto_jit must be -1, 0, 1, 2, fusible, fusible(1), "
            "fusible(2), single-gpu(1) or single-gpu(2)"
        )
    if not flag:
        notes.append(f"--tf_xla_auto_jit={value} in {XLA_VARIABLE} means --xla")
    return True


def _boolean(name: str, environ: Mapping[str, str]) -> bool | None:
    """A variable parsed as TensorFlow parses its own booleans; None if it is not set."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    if text.lower() not in _BOOLEANS:
        raise UsageError(f"{name}={text}: must be 0, 1, true or false")
    return _BOOLEANS[text.lower()]
