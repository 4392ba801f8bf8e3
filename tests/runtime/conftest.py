"""A tiny data set and a tiny trained network, made once for all tests that only read them."""

from pathlib import Path

import pytest

from tests.runtime.runs import train, write_data


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """20 training and 10 validation examples of three classes, with a manifest."""
    return write_data(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data_dir) -> Path:
    """The results of one epoch of training and its evaluation: checkpoint 5, best/, log.json. Not to be changed."""
    results = tmp_path_factory.mktemp("tiny") / "trained"
    finished = train(data_dir, results, "--num_iter=1", "--lr_init=2", mode="train_and_evaluate")
    assert finished.status == 0, finished.error
    return results
