"""The answers to --dali if DALI is not installed, or if the flag has no effect."""

from unittest import mock

import pytest

from tests.runtime.runs import network, run, write_data
from utils.cmdline_helper import parse


def test_a_launch_without_dali_ends_with_status_2_and_says_what_to_install(tmp_path):
    data = write_data(tmp_path / "data")
    with mock.patch.dict("sys.modules", {"nvidia": None, "nvidia.dali": None}):
        result = run(*network(data, tmp_path / "r", "train"), "--batch_size=4", "--dali")
    assert result.status == 2
    sentence = result.error.splitlines()[-1]
    assert "--dali: NVIDIA DALI cannot be imported" in sentence
    assert "`pip install -r requirements/dali.txt` installs it" in sentence
    assert not list((tmp_path / "r").glob("model.ckpt*"))


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        (["--mode=predict", "--to_predict=x"], "--data_idx_dir and --dali have no effect in --mode predict"),
        (["--mode=training_benchmark", "--batch_size=4", "--num_iter=100", "--iter_unit=batch"],
         "--data_idx_dir and --dali have no effect on synthetic images"),
    ],
)  # fmt: skip
def test_where_no_records_are_read_the_flags_are_said_to_have_no_effect(flags, note):
    command = parse([*flags, "--dali", "--data_idx_dir=I"], {})
    assert note in command.notes
    assert command.config.data.source != "dali"
    assert command.config.data.index_dir is None
