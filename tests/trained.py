"""What is trained once for a whole run of the tests, however many processes share it, and is only read.

Tests that change a folder copy it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from utils.files.file_lock import locked


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of a name, which the first process that asks for it makes and fills; the others wait for it."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a folder of its own in that of the run
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
    """A tiny classifier after one epoch and its evaluation in ``trained``, its records in ``data``."""
    from tests.runtime.runs import train, write_data  # imports TensorFlow, which not every test needs

    data = write_data(folder / "data")
    done = train(data, folder / "trained", "--num_iter=1", "--lr_init=2", mode="train_and_evaluate")
    assert done.status == 0, done.error


def detector(folder: Path) -> None:
    """A tiny detector that has seen its ten scenes a few times in ``trained``, its records in ``data``."""
    from tests.runtime.runs import run
    from tests.runtime.scenes import write_scenes

    data = write_scenes(folder / "data", first_validation=0)
    flags = ("--arch=ssd320", "--mode=train", f"--data_dir={data}", f"--results_dir={folder / 'trained'}")
    flags += ("--image_size=64", "--batch_size=2", "--num_iter=12", "--lr_init=2", "--no_color_jitter", "--seed=1")
    done = run(*flags)
    assert done.status == 0, done.error
