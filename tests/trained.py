"""Networks trained once per run of the tests and shared by all its processes, read-only.

A test that changes a folder copies it first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from utils.files.file_lock import locked


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Returns the folder of a name; the first process that asks for it fills it, and the others wait."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has its own folder inside the run's
        common = common.parent
    folder = common / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    ready = folder.with_suffix(".ready")
    with locked(folder.with_suffix(".lock")):
        if not ready.exists():
            folder.mkdir()
            make(folder)
            ready.touch()
    return folder


def classifier(folder: Path) -> None:
    """Trains a tiny classifier for one epoch with evaluation into ``trained``, from records in ``data``."""
    from tests.runtime.runs import train, write_data  # here, since not every test needs TensorFlow

    data = write_data(folder / "data")
    done = train(data, folder / "trained", "--num_iter=1", "--lr_init=2", mode="train_and_evaluate")
    assert done.status == 0, done.error


def detector(folder: Path) -> None:
    """Trains a tiny detector for a few epochs of ten scenes into ``trained``, from records in ``data``."""
    from tests.runtime.runs import run
    from tests.runtime.scenes import write_scenes

    data = write_scenes(folder / "data", first_validation=0)
    flags = ("--arch=ssd320", "--mode=train", f"--data_dir={data}", f"--results_dir={folder / 'trained'}")
    flags += ("--image_size=64", "--batch_size=2", "--num_iter=12", "--lr_init=2", "--no_color_jitter", "--seed=1")
    done = run(*flags)
    assert done.status == 0, done.error
