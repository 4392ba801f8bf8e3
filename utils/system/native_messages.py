"""Messages of TensorFlow's native code that its environment variable does not reach (no TF).

``TF_CPP_MIN_LOG_LEVEL`` rules TensorFlow's own logging. What logs by Abseil (XLA, the CUDA factories, gRPC) goes by
Abseil's level alone, which no variable and no Python function sets (TensorFlow 2.21): from there come "All log messages
before absl::InitializeLog() is called are written to STDERR" and what follows it. The library that holds Abseil is
loaded before TensorFlow is imported, since factories already log while it is, and its level is set in there. Standard
error itself is left alone, so that nothing else is lost.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import re
from pathlib import Path

_LIBRARY = "libtensorflow_framework.so.2"
_SET_LEVEL = re.compile(rb"_ZN4absl(?:\d+lts_\d+)?14SetMinLogLevelENS\w*_18LogSeverityAtLeastE")


def set_native_log_level(level: int) -> bool:
    """Sets the least severe level that Abseil logs at in this process, before TensorFlow is imported.

    Args:
        level: 0 for information, 1 for warnings, 2 for errors, 3 for what ends the process.

    Returns:
        Whether that could be done: another build of TensorFlow may hide the function, and goes on logging then.
    """
    package = importlib.util.find_spec("tensorflow")
    library = Path(next(iter(package.submodule_search_locations or ()), "")) / _LIBRARY if package else None
    if library is None or not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        name = _SET_LEVEL.search(content)
        symbol = name[0].decode("ascii") if name else None
    if symbol is None:
        return False
    getattr(ctypes.CDLL(str(library)), symbol)(ctypes.c_int(level))
    return True
