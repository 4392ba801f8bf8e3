"""Facts about this machine: processor, memory and disk, read from system files in a millisecond (no TF)."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

BFLOAT16_FEATURES = frozenset({"avx512_bf16", "amx_bf16"})
SPEED_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
"""Instruction sets that determine the speed of networks, the oldest first."""

CPU_INFO, MEMORY_INFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
RESIDENT, STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
MEMORY_LIMIT, MEMORY_USED, MEMORY_KINDS = (
    Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current", "memory.stat")
)
_GB = 1e9


def is_x86() -> bool:
    """Returns whether the processor is of the x86 family, with 64 bits."""
    return platform.machine() in ("x86_64", "AMD64")


def cpu_features() -> frozenset[str]:
    """Names of the instruction sets of an x86 CPU, in Linux's spelling; empty if they cannot be read."""
    return frozenset(_cpu_field("flags").split()) if is_x86() else frozenset()


def cpu_name() -> str:
    """The model name of the processor, or its architecture if it has no name."""
    return _cpu_field("model name") or platform.processor() or platform.machine()


def uses_onednn(environ: Mapping[str, str]) -> bool:
    """Returns whether TensorFlow uses oneDNN in programs of this project: on x86 unless the environment disables it."""
    return is_x86() and environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"


def memory_gb() -> tuple[float, float] | None:
    """Total and free memory of this machine or container in 10^9 bytes; None if unknown."""
    try:
        lines = [line.split() for line in MEMORY_INFO.read_text(encoding="utf-8").splitlines()]
        values = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
        total, free = values["MemTotal"], values["MemAvailable"]
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit, used = (int(path.read_text(encoding="utf-8")) for path in (MEMORY_LIMIT, MEMORY_USED))
        total, free = min(total, limit), min(free, max(0, limit - used + _reclaimable()))
    except (OSError, ValueError):  # no container, or no limit ("max")
        pass
    return total / _GB, free / _GB


def _reclaimable() -> int:
    """Bytes of files that the container keeps in memory and would give up first; they count as used."""
    try:
        kinds = dict(line.split() for line in MEMORY_KINDS.read_text(encoding="utf-8").splitlines())
        return int(kinds["inactive_file"])
    except (OSError, KeyError, ValueError):
        return 0


def resident_bytes() -> int:
    """Memory that this process occupies."""
    pages = int(RESIDENT.read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes() -> int:
    """The most memory that this process has occupied."""
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def disk_free_gb(folder: Path) -> float | None:
    """Free space on the disk of a folder, or of its nearest existing parent, in 10^9 bytes."""
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free / _GB
        except OSError:
            continue
    return None


def machine_facts(folder: Path, environ: Mapping[str, str]) -> dict[str, object]:
    """Facts about the machine for the log of a run that writes to ``folder``; unknown facts are None."""
    features = cpu_features()
    memory = memory_gb()
    free = disk_free_gb(folder)
    return {
        "cpu": cpu_name(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "cpu_features": " ".join(name for name in SPEED_FEATURES if name in features) or None,
        "onednn": uses_onednn(environ),
        "memory_gb": memory and round(memory[0], 1),
        "memory_free_gb": memory and round(memory[1], 1),
        "disk_free_gb": free and round(free, 1),
    }


def _cpu_field(field: str) -> str:
    """The first value of a field in the processor's description, or ""."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    named = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in named if name.strip() == field), "")
