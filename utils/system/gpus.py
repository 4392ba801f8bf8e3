"""NVIDIA GPUs as the system and the driver show them, and why a program cannot use them (no TF).

The driver's library tells what TensorFlow does not without initializing a GPU: the memory and the identity of each, and
its own complaint. No call here creates a CUDA context or takes memory of a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KERNEL_LIST, DEVICE_FILES = Path("/proc/driver/nvidia/gpus"), Path("/dev")
VISIBLE = "CUDA_VISIBLE_DEVICES"
LIBRARY = "libcuda.so.1"
_NO_DEVICE = 100
_COMPLAINTS = {
    802: "the NVSwitches are not ready: is nvidia-fabricmanager running?",
    803: "the driver's kernel module and its library are of different versions; restart the machine",
    804: "the installed compatibility library of CUDA does not serve this GPU",
    999: "the driver fails; nvidia-smi and the kernel's log may say why",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as the driver numbers them for this process."""

    identity: str
    """Its UUID; parts of a card (MIG) have their own. Empty if the driver does not tell."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """The answers of the driver's library.

    Attributes:
        complaint: A phrase for why it does not work, or "".
        cuda: Newest version of CUDA that it supports: major and minor; (0, 0) if unknown.
        cards: The GPUs that this process may use.
    """

    complaint: str = ""
    cuda: tuple[int, int] = (0, 0)
    cards: tuple[Card, ...] = ()


def count_in_machine(kernel_list: Path = KERNEL_LIST, device_files: Path = DEVICE_FILES) -> int:
    """The number of NVIDIA GPUs in the machine, usable or not."""
    listed = len(list(kernel_list.iterdir())) if kernel_list.is_dir() else 0
    return max(listed, len(_device_files(device_files)))


def hidden_by_user(environ: Mapping[str, str]) -> bool:
    """Returns whether the environment hides all GPUs on purpose; a name that no GPU has hides them by mistake."""
    listed = environ.get(VISIBLE)
    return listed is not None and bool(re.match(r"\s*(-\d+|none|void|NoDevFiles)?\s*(,|$)", listed, re.IGNORECASE))


def why_unusable(
    driver: Driver, built_for: str | None, environ: Mapping[str, str], device_files: Path = DEVICE_FILES
) -> str:
    """The likely reason why TensorFlow cannot use the GPUs of the machine, as a phrase.

    Args:
        driver: The answers of the driver.
        built_for: The version of CUDA that TensorFlow was built for, as "12.5"; None for a build without CUDA.
        environ: The environment.
        device_files: The folder of the device files.
    """
    if built_for is None:
        return "this TensorFlow was built without CUDA (requirements/gpu.txt installs the other build)"
    files = _device_files(device_files)
    if not files:
        return f"{device_files}/nvidia0 is missing; a container needs `--gpus all`"
    if not any(os.access(path, os.R_OK | os.W_OK) for path in files):
        return f"{files[0]} may not be opened; a job or container must ask for GPUs"
    if driver.complaint:
        return driver.complaint
    needed = int(built_for.partition(".")[0])
    if driver.cuda[0] < needed:
        return f"the driver is too old: it supports CUDA {driver.cuda[0]}.{driver.cuda[1]}, TensorFlow needs {needed}.0"
    if not driver.cards:
        return f"{VISIBLE}={environ.get(VISIBLE, '')} names none of them"
    return "libraries of CUDA may be missing (requirements/gpu.txt); with --log_level debug, TensorFlow names them"


def ask_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Asks the driver's library; ``load`` opens it."""
    try:
        library = load(LIBRARY)
    except OSError:
        return Driver(f"the driver's library {LIBRARY} cannot be loaded; a container needs `--gpus all`")
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    cuda = (version.value // 1000, version.value % 1000 // 10)
    status = library.cuInit(0)
    if status not in (0, _NO_DEVICE):
        return Driver(_COMPLAINTS.get(status, f"the driver answers {_error_name(library, status)}"), cuda)
    count = ctypes.c_int(0)
    if status == 0:
        library.cuDeviceGetCount(ctypes.byref(count))
    return Driver("", cuda, tuple(_card(library, number) for number in range(count.value)))


def _card(library: Any, number: int) -> Card:
    device, memory, identity = ctypes.c_int(0), ctypes.c_size_t(0), (ctypes.c_ubyte * 16)()
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    try:
        ask = library.cuDeviceGetUuid_v2
    except AttributeError:  # drivers before CUDA 11.4
        ask = library.cuDeviceGetUuid
    known = ask(ctypes.byref(identity), device) == 0
    return Card(str(uuid.UUID(bytes=bytes(identity))) if known else "", memory.value)


def _error_name(library: Any, status: int) -> str:
    name = ctypes.c_char_p()
    library.cuGetErrorName(status, ctypes.byref(name))
    return name.value.decode("ascii") if name.value else f"error {status}"


def _device_files(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if re.fullmatch(r"nvidia\d+", path.name))
    return []
