"""A process that dies, hangs, gets a signal or meets bad data ends the whole job, and nothing is lost."""

import contextlib
import os
import re
import signal
import socket
import time

import psutil
import pytest
import tensorflow as tf

from tests.distributed.launching import LOCAL, MPI, Job, launched, started
from tests.runtime.runs import network, picture, run, write_data
from tests.utils.input_records import record
from utils.dllogger_utils import read_log
from utils.weights.checkpoint_files import steps_in

pytestmark = pytest.mark.slow
BLIND_RANK_1 = """
import os, sys
import main
from runtime.devices import gpu_choice
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    gpu_choice.unused_gpus = lambda environ: "TensorFlow cannot use the GPUs"
sys.exit(main.main(sys.argv[1:]))
"""
LONG = ("--batch_size=4", "--num_iter=100000", "--iter_unit=batch", "--checkpoint_every=5", "--display_every=1")
LONG += ("--seed=3", "--lr_warmup_epochs=0", "--lr_init=0.1")


def long_training(pictures, folder, *more):
    return (*network(pictures, folder, "train"), *LONG, *more)


def under_way(job: Job, folder):
    """Waits for the first checkpoint."""
    job.wait_for(lambda: steps_in(folder))


def assert_continues_alone(pictures, folder):
    before = steps_in(folder)[-1]
    result = run(*long_training(pictures, folder, "--run_iter=2"), "--batch_size=8")
    assert result.status == 0, result.error
    assert steps_in(folder)[-1] == before + 2


@pytest.mark.parametrize(("launcher", "rank"), [(MPI, 0), (MPI, 1), (LOCAL, 0), (LOCAL, 1)])
def test_a_killed_process_ends_all_and_one_continues(launcher, rank, pictures, tmp_path):
    folder = tmp_path / "run"
    with started(2, tmp_path, *long_training(pictures, folder), launcher=launcher) as job:
        under_way(job, folder)
        job.rank(rank).kill()
        began = time.monotonic()
        ended = job.end()
        assert time.monotonic() - began < 30
    assert ended.status != 0
    said = rf"CRITICAL: .*rank {rank}: its process has ended, (after step \d+|before its first step)"
    assert re.search(said, ended.text), ended.text
    assert_continues_alone(pictures, folder)


@pytest.mark.parametrize(("launcher", "rank"), [(MPI, 1), (LOCAL, 0)])
def test_a_process_that_freezes_while_it_loads_tensorflow_ends_all_within_the_time_out(
    launcher, rank, pictures, tmp_path
):
    flags = long_training(pictures, tmp_path / "run", "--stall_timeout_s=4")
    with started(2, tmp_path, *flags, program=("main.py",), launcher=launcher) as job:
        job.wait_for(lambda: loads_tensorflow(job, rank))
        job.rank(rank).suspend()
        began = time.monotonic()
        ended = job.end()
        assert time.monotonic() - began < 4 + 60  # the other one loads TensorFlow, too, and then looks around
    assert ended.status != 0
    said = rf"CRITICAL: .*rank {rank}: (no sign of life for 4 s .*, during its start|has not started within 20 s)"
    assert re.search(said, ended.text), ended.text


def loads_tensorflow(job: Job, rank: int) -> bool:
    with contextlib.suppress(LookupError, psutil.Error):
        return any("libtensorflow" in library.path for library in job.rank(rank).memory_maps())
    return False


@pytest.mark.parametrize(("launcher", "rank"), [(MPI, 0), (LOCAL, 1)])
def test_a_frozen_process_ends_all_within_the_time_out(launcher, rank, pictures, tmp_path):
    folder = tmp_path / "run"
    flags = long_training(pictures, folder, "--stall_timeout_s=4")
    with started(2, tmp_path, *flags, launcher=launcher) as job:
        under_way(job, folder)
        job.rank(rank).suspend()
        began = time.monotonic()
        ended = job.end()
        assert time.monotonic() - began < 4 + 30
    assert ended.status != 0
    said = rf"CRITICAL: .*rank {rank}: no sign of life for 4 s \(--stall_timeout_s\), (after|before)"
    assert re.search(said, ended.text), ended.text
    assert steps_in(folder)


@pytest.mark.parametrize(("number", "rank"), [(signal.SIGTERM, 1), (signal.SIGUSR1, 0)])
def test_a_signal_to_one_process_stops_all_after_the_same_step(number, rank, pictures, tmp_path):
    folder = tmp_path / "run"
    with started(2, tmp_path, *long_training(pictures, folder)) as job:
        under_way(job, folder)
        os.kill(job.rank(rank).pid, number)
        ended = job.end()
    assert ended.status == 75, ended.text
    assert f"stopped by {number.name}: rerun the same command to continue" in ended.text
    logged = [tuple(record.get("step", ())) for record in read_log(folder / "log.json")]
    assert steps_in(folder)[-1] == max(step[1] for step in logged if len(step) == 2)
    assert_continues_alone(pictures, folder)


def test_a_wrong_command_that_rank_0_notices_is_one_sentence_and_its_status(pictures, tmp_path):
    ended = launched(2, tmp_path, *network(pictures, tmp_path / "model.ckpt-10", "evaluate"), "--batch_size=4")
    assert ended.text.count("CRITICAL") == 1, ended.text
    assert "its process has ended" not in ended.text


def test_bad_data_of_one_process_ends_all_with_its_name(two, tmp_path):
    data = write_data(tmp_path / "data", train=40, validation=4, manifest=False)
    with tf.io.TFRecordWriter(str(data / "train-00001-of-00002")) as writer:
        for content in (b"no image", *map(picture, range(19))):
            writer.write(record(content, label=1))
    ended = launched(2, tmp_path, *long_training(data, tmp_path / "run", "--num_iter=10"))
    assert ended.status == 1, ended.text
    place = r"1 bad record, 0 allowed \(--max_bad_records\), in step [1-3] of rank [01] on \S+$"
    assert re.search(rf"CRITICAL: .*train-00001-of-00002, record 0: .*; {place}", ended.text, re.MULTILINE)
    allowed = (*long_training(data, tmp_path / "again", "--num_iter=10"), "--max_bad_records=1")
    (tmp_path / "tolerant").mkdir()  # for the output of this launch alone
    tolerant = two(tmp_path / "tolerant", *allowed)
    assert tolerant.status == 0, tolerant.text
    assert tolerant.text.count("train-00001-of-00002, record 0") == 1


@pytest.mark.parametrize("launcher", [MPI, LOCAL])
def test_a_second_launch_is_refused_the_folder_and_a_signal_to_the_launcher_reaches_all(launcher, pictures, tmp_path):
    folder = tmp_path / "run"
    with started(2, tmp_path, *long_training(pictures, folder), launcher=launcher) as job:
        under_way(job, folder)
        refused = run(*long_training(pictures, folder))
        assert refused.status == 1
        assert "another launch is training in it" in refused.error
        assert job.process.poll() is None
        job.process.send_signal(signal.SIGUSR1)
        ended = job.end()
    assert ended.status == 75, ended.text


def test_gpus_that_one_process_cannot_use_end_all_with_its_rank_and_host(tmp_path):
    flags = ("--mode=training_benchmark", "--batch_size=2", "--num_iter=100000", f"--results_dir={tmp_path / 'run'}")
    with started(2, tmp_path, *flags, program=("-c", BLIND_RANK_1)) as job:
        ended = job.end()
    assert ended.status == 2, ended.text
    assert f"CRITICAL: rank 1 on {socket.gethostname()}: TensorFlow cannot use the GPUs\n" in ended.text
    assert "Traceback" not in ended.text
