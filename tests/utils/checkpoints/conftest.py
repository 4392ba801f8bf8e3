"""Fixtures that save a network of two variables."""

import pytest

from tests.utils.checkpoints.weights import Weights
from utils.checkpoints import CheckpointDir


@pytest.fixture(scope="module")
def weights():
    weights = Weights()
    with weights.session:
        yield weights


@pytest.fixture
def save(tmp_path, weights):
    """Saves steps to a folder and keeps the newest ones; all values of a step are its number."""

    def do(*steps, keep=5, folder=tmp_path):
        directory = CheckpointDir(folder, keep)
        directory.prepare()
        for step in steps:
            weights.fill(step)
            prefix = directory.save(weights.session, weights.saver, step, {"step": step})
            assert prefix == folder / f"model.ckpt-{step}"
        return directory

    return do
