"""A failed write or a loss that is not a number leaves everything saved before intact."""

import errno
import re
import resource
import subprocess
import sys

import pytest

from tests.bad_input.launching import FAILED, USAGE, assert_ends, launch, train_on
from tests.conftest import ROOT
from tests.runtime.runs import network, values, write_data


@pytest.mark.parametrize("mode", ["train", "evaluate", "training_benchmark"])
def test_a_results_folder_that_cannot_be_made(sound, tmp_path, mode):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    more = [f"--model_dir={sound / 'trained'}"] if mode == "evaluate" else []
    iterations = ("--num_iter=4", "--iter_unit=batch", "--warmup_steps=1")
    result = launch(
        *network(sound / "data", blocked / "results", mode), "--batch_size=4", "--seed=3", *iterations, *more
    )
    assert_ends(result, USAGE, f"--results_dir {blocked / 'results'}: cannot be written to")
    assert blocked.read_text() == "not a folder"


@pytest.mark.slow
def test_a_disk_that_is_full_while_saving_leaves_the_earlier_checkpoints(sound, trained, monkeypatch):
    before = values(trained / "model.ckpt-5")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("utils.checkpoints.flush_to_disk", full)
    result = train_on(sound / "data", trained, "--num_iter=2")
    assert_ends(result, FAILED, "step 10", str(trained), "--model_dir", "No space left on device", "are intact")
    monkeypatch.undo()
    assert sorted(path.name for path in trained.glob("model.ckpt*.index")) == ["model.ckpt-5.index"]
    after = values(trained / "model.ckpt-5")
    assert all((before[name] == after[name]).all() for name in before)
    assert train_on(sound / "data", trained, "--num_iter=2").status == 0


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_ends_the_program_with_a_sentence(tmp_path):
    results = tmp_path / "results"
    data = write_data(tmp_path / "data", manifest=False)
    command = [sys.executable, "-m", "tests.runtime.tiny_main", *network(data, results, "train"), "--batch_size=4"]
    command += ["--num_classes=100000", "--num_iter=1", "--iter_unit=batch", "--lr_warmup_epochs=0"]
    limit = 2**20  # log and events fit, but not the weights of this number of classes
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ended.returncode == FAILED, ended.stderr
    sentence = next(line for line in ended.stderr.splitlines() if line.startswith("CRITICAL"))
    assert f"step 1: the checkpoint could not be written to {results}" in sentence
    assert "Traceback" not in ended.stderr
    assert not list(results.glob("*.index"))


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_good_checkpoint(sound, trained):
    before = values(trained / "model.ckpt-5")
    result = train_on(sound / "data", trained, "--num_iter=3", "--lr_init=1e20", "--checkpoint_every=1")
    assert result.status == FAILED
    sentence = result.error.splitlines()[-1]
    loss = "(?:cross_entropy|l2_loss|total_loss) is (?:nan|inf)"  # or the weights of a checkpoint are found first
    step = re.search(rf"step (\d+): (?:{loss}|the values of \S+ and \d+ more variables are not finite)", sentence)[1]
    assert 5 < int(step) <= 15
    assert "earlier checkpoints are intact" in sentence
    assert "--lr_init" in sentence
    for prefix in trained.glob("model.ckpt-*.index"):
        assert int(prefix.stem.rpartition("-")[2]) < int(step)
        assert all(abs(value).max() < float("inf") for value in values(prefix.with_suffix("")).values() if value.size)
    after = values(trained / "model.ckpt-5")
    assert all((before[name] == after[name]).all() for name in before)
