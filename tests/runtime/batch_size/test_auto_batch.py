"""``--batch_size auto``: the batch is that of trials or of the checkpoint, is told, and is refused where it must be."""

import dataclasses
import multiprocessing
import signal
from types import SimpleNamespace
from unittest import mock

import pytest

from runtime.batch_size import auto_batch
from runtime.batch_size.auto_batch import set_up_with_batch
from runtime.batch_size.search import LARGEST, AutoBatch
from runtime.batch_size.trial import OUTGREW, Ready, Share
from runtime.setup.set_up import set_up_alone
from tests.runtime.runs import network, run, train
from utils.cmdline_helper import parse
from utils.errors import RunError, UsageError
from utils.hooks.hook import Hook
from utils.hvd_utils import SerialCommunicator

GB = 1e9


class Formula:
    """Trials whose needs are a formula: 0.1 GB, and as much for each image."""

    images: int | None = 20
    end = ""

    def __init__(self, config, share, stop):
        self.share = share

    def ready(self):
        return Ready(self.images, False)

    def need(self, batch):
        need = 0.1 * GB * (1 + batch)
        return need if need <= self.share.room else None

    def close(self):
        pass


@pytest.fixture
def formula(monkeypatch):
    """Replaces the trials, on a machine with 1 GB of free memory."""
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (16.0, 1.0))
    monkeypatch.setattr(auto_batch, "_Trials", Formula)


def test_a_run_takes_the_batch_says_so_and_keeps_it(formula, data_dir, tmp_path, monkeypatch):
    """0.1 + 0.1 n GB within nine tenths of 1 GB: n = 8, two steps of 20 images."""
    flags = (*network(data_dir, tmp_path, "train"), "--batch_size=auto", "--seed=1", "--display_every=1")
    planned = run(*flags, "--dry_run")
    assert "8 images, the most that fit; tried: 0.90 of the 0.90 GB" in planned.output
    done = run(*flags)
    assert done.status == 0, done.error
    assert done.parameters["batch_size"] == 8
    assert done.parameters["batch_size_auto"].startswith("8 images, the most that fit")
    assert "--batch_size auto: 8 images, the most that fit; tried: 0.90 of the 0.90 GB" in done.error + done.output
    assert done.losses[-1][0] == 2
    monkeypatch.setattr(auto_batch, "_Trials", None)  # no trial is begun
    going_on = run(*flags, "--num_iter=2")
    assert going_on.status == 0, going_on.error
    assert going_on.parameters["batch_size"] == 8
    assert going_on.parameters["batch_size_auto"] == "as in the run so far, 8 images a step"
    assert going_on.losses[-1][0] == 4
    refused = run(*flags, "--num_iter=3", "--accumulate_steps=3")
    assert refused.status == 2
    assert "model.ckpt-4 was trained with 8 images a step, which 3 batches" in refused.error


def test_all_images_are_the_most_and_a_number_changes_nothing(formula, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (16.0, 9.0))
    done = run(*network(data_dir, tmp_path, "train"), "--batch_size=auto", "--seed=1")
    assert done.parameters["batch_size"] == 20
    assert "all that there are" in done.parameters["batch_size_auto"]
    assert "batch_size_auto" not in train(data_dir, tmp_path / "other").parameters


@pytest.mark.parametrize(
    ("images", "batch", "why"), [(None, LARGEST, "the largest batch that is tried"), (3, 3, "all")]
)
def test_the_largest_batch_without_or_with_few_images(formula, images, batch, why, monkeypatch):
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (1e6, 1e6))
    monkeypatch.setattr(Formula, "images", images)
    found = settled(SerialCommunicator())
    assert found.config.data.batch_size_per_replica == found.auto_batch.batch == batch
    assert why in found.auto_batch.told


def test_no_room_and_an_unknown_memory_are_sentences(formula, data_dir, tmp_path, monkeypatch):
    flags = (*network(data_dir, tmp_path / "r", "train"), "--batch_size=auto")
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (16.0, 0.2))
    done = run(*flags)
    assert done.status == 2
    assert "--batch_size auto: no room for a batch of one image in the 0.18 GB of memory" in done.error
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: None)
    done = run(*flags)
    assert done.status == 2
    assert "--batch_size auto: this system does not tell how much memory is free" in done.error
    assert not (tmp_path / "r").exists()


class Several(SerialCommunicator):
    """The first of three processes, two of them on this machine."""

    size = 3

    def __init__(self, *others):
        super().__init__()
        self._others = others

    def gather(self, value):
        if isinstance(value, str):  # its host
            return [value, "elsewhere", value]
        return [value, *self._others]


class NeverStop(Hook):
    """Asks for nothing."""


@dataclasses.dataclass(frozen=True)
class Noted:
    """In place of a setup."""

    config: object
    auto_batch: AutoBatch | None = None


def settled(processes, stop=None, arguments=("--mode=training_benchmark",)):
    """What is set up for a command line with an automatic batch."""
    config = parse([*arguments, "--batch_size=auto"], {}).config
    with mock.patch.object(auto_batch, "set_up", lambda config, processes, writes: Noted(config)):
        return set_up_with_batch(config, processes, stop or NeverStop())


def test_processes_share_a_machine_and_take_the_smallest_batch(formula, monkeypatch):
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (16.0, 4.0))
    own = AutoBatch(batch=16, told="")
    assert settled(Several(own, own)).config.data.batch_size_per_replica == 16  # 1.8 GB of nine tenths of 2
    smaller = AutoBatch(batch=12, told="less")
    found = settled(Several(own, smaller))
    assert (found.config.data.batch_size_per_replica, found.auto_batch) == (12, smaller)
    with pytest.raises(UsageError, match="full"):
        settled(Several(own, UsageError("full")))
    assert settled(Several(own, None)) is None  # a signal


def test_a_signal_ends_the_trials_and_leaves_no_process(monkeypatch):
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (16.0, 4.0))
    assert settled(SerialCommunicator(), SimpleNamespace(wants_stop=True)) is None
    assert multiprocessing.active_children() == []


def test_a_process_that_outgrows_its_room_is_no_fault(monkeypatch):
    """A limit of 27 MB, which Python with its libraries exceeds."""
    monkeypatch.setattr(auto_batch, "memory_gb", lambda: (16.0, 0.03))
    with pytest.raises(UsageError, match=r"no room for a batch of one image in the 0\.03 GB of memory[^(]*$"):
        settled(SerialCommunicator())
    assert multiprocessing.active_children() == []


def answered(answer, status=0):
    """What trials make of the answer of a child that ends with a status."""
    trials = auto_batch._Trials(parse(["--mode=training_benchmark", "--batch_size=auto"], {}).config, None, NeverStop())

    def receive():
        if answer is None:
            raise EOFError
        return answer

    pipe = SimpleNamespace(poll=lambda seconds: True, recv=receive)
    child = SimpleNamespace(pipe=pipe, close=lambda patience_s=0.0: status)
    return trials, trials._answer(child)


def test_sentences_of_a_trial_are_about_the_flag_as_given():
    told = UsageError("--batch_size 1: model.tflite was exported for batches of 8; give that")
    with pytest.raises(UsageError, match=r"--batch_size auto: model\.tflite was exported for batches of 8"):
        answered(told)
    with pytest.raises(RunError, match="--model_dir x: holds no checkpoint"):
        answered(RunError("--model_dir x: holds no checkpoint"))


def test_the_end_of_a_trial_tells_want_of_memory_from_faults():
    for status in (OUTGREW, -signal.SIGKILL):
        trials, answer = answered(None, status)
        assert (answer, trials.end) == (None, "")
    trials, answer = answered(None, -signal.SIGABRT)  # no memory for a tensor in C++
    assert (answer, trials.end) == (None, "the last trial ended by signal 6")
    with pytest.raises(RunError, match="the process that tries batches ended with status 1; give a number"):
        answered(None, 1)


def test_what_measures_nothing_refuses_it():
    config = parse(["--mode=training_benchmark", "--batch_size=auto"], {}).config
    with pytest.raises(UsageError, match=r"--batch_size auto: only main\.py measures the largest batch"):
        set_up_alone(config)


def test_real_steps_in_a_child_tell_what_a_batch_needs_and_end_where_memory_does():
    """``resnet18`` at 64 pixels: 16 images need more than 8, and 1,024 do not fit in a fifth more than that."""
    flags = ("--mode=training_benchmark", "--arch=resnet18", "--image_size=64", "--num_classes=10", "--cpu")
    config = parse([*flags, "--batch_size=auto"], {}).config
    share = Share(processes=1, local_rank=0, threads=2, room=8 * GB)
    trials = auto_batch._Trials(config, share, NeverStop())
    try:
        needs = trials.need(8), trials.need(16)
    finally:
        trials.close()
    assert 0.1 * GB < needs[0] <= needs[1] < 4 * GB
    narrow = auto_batch._Trials(config, dataclasses.replace(share, room=1.2 * needs[1]), NeverStop())
    try:
        assert (narrow.need(1024), narrow.end) == (None, "")
    finally:
        narrow.close()
    assert multiprocessing.active_children() == []
