"""Software versions of a run, for its log and its checkpoints (no TF)."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

DALI_PACKAGES = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")
PACKAGES = {
    "tensorflow_version": ("tensorflow", "tensorflow-cpu"),
    "numpy_version": ("numpy",),
    "pillow_version": ("pillow",),
    "horovod_version": ("horovod",),
    "dali_version": DALI_PACKAGES,
}


def versions() -> dict[str, str | None]:
    """Versions of Python and packages (None if missing), and the commit of this clone ("+" if it was modified)."""
    found: dict[str, str | None] = {"python_version": platform.python_version()}
    found |= {key: installed(names) for key, names in PACKAGES.items()}
    return {**found, "git_commit": git_commit(Path(__file__).resolve().parents[2])}


def git_commit(folder: Path) -> str | None:
    """The checked-out commit of a folder, or None without git or a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def installed(names: tuple[str, ...]) -> str | None:
    """The version of the first of these packages that is installed; None if none is."""
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
