"""From a parsed command to an exit status and a sentence."""

import logging
import os
import signal
from pathlib import Path

import pytest
import tensorflow as tf

from runtime import launch as launch_module
from tests.runtime.runs import network, run, train
from utils.cmdline_helper import parse
from utils.errors import RunError, UsageError
from utils.flags.table import FLAGS
from utils.hvd_utils import LAUNCHER_SIZES


@pytest.fixture
def launched(data_dir, tmp_path, monkeypatch):
    """A launch with a fake runner."""

    def do(act, *flags):
        class Runner:
            def __init__(self, setup, communicator, logger, preemption):
                self.setup, self.logger = setup, logger

            def run(self):
                return act(self)

        monkeypatch.setattr(launch_module, "Runner", Runner)
        return train(data_dir, tmp_path / "run", *flags)

    return do


def fail(error):
    def act(runner):
        raise error

    return act


def test_a_signal_before_the_first_step_ends_the_launch_as_a_later_one_does(data_dir, tmp_path, monkeypatch):
    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return set_up(*arguments)

    set_up = launch_module.set_up_with_batch
    monkeypatch.setattr(launch_module, "set_up_with_batch", signalled)
    result = train(data_dir, tmp_path / "run")
    assert result.status == 75
    assert "stopped by SIGTERM: rerun the same command to continue" in result.error
    assert not list((tmp_path / "run").glob("model.ckpt*"))


@pytest.mark.parametrize("status", [0, 3, 75])
def test_the_modes_status_is_the_launchs(launched, status):
    assert launched(lambda runner: status).status == status


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (UsageError("--flag 0: must be something else"), 2, "--flag 0: must be something else"),
        (RunError("step 3: something broke"), 1, "step 3: something broke"),
        (PermissionError(13, "Permission denied", "/some/file"), 1, "/some/file: Permission denied"),
    ],
)
def test_an_error_is_one_sentence_and_a_status(launched, error, status, sentence):
    result = launched(fail(error))
    assert result.status == status
    assert [line for line in result.error.splitlines() if "Traceback" in line or sentence in line] == [
        f"CRITICAL: {sentence}"
    ]


def test_a_system_error_without_a_file_names_the_results(launched, tmp_path):
    result = launched(fail(OSError(28, "No space left on device")))
    assert result.status == 1
    assert f"CRITICAL: {tmp_path / 'run'}: No space left on device" in result.error


def test_an_error_of_the_gpu_at_any_time_is_one_sentence(launched):
    error = tf.errors.InternalError(None, None, "failed to create cublas handle: the resource allocation failed")
    result = launched(fail(error))
    assert result.status == 1
    assert "CRITICAL: cuDNN or cuBLAS does not work (failed to create cublas handle" in result.error
    with pytest.raises(tf.errors.InternalError):
        launched(fail(tf.errors.InternalError(None, None, "something new")))


def test_what_the_program_got_wrong_keeps_its_traceback(launched):
    with pytest.raises(ZeroDivisionError):
        launched(lambda runner: 1 // 0)


def test_the_log_is_closed_whatever_happens(launched):
    loggers = []

    def act(runner):
        loggers.append(runner.logger)
        raise RunError("stop")

    launched(act)
    assert loggers[0]._file is None


def test_the_parameters_are_every_flag_as_it_was_resolved_with_versions(launched, data_dir):
    parameters = launched(lambda runner: 0, "--cosine_lr").parameters
    recorded = {flag.name for flag in FLAGS if flag.field and "resnet50" in flag.architectures and flag.recorded}
    assert recorded <= set(parameters)
    assert "console" not in parameters  # it changes the console only
    resolved = {"arch": "resnet50", "num_classes": 3, "image_size": 16, "batch_size": 4, "seed": 3, "cosine_lr": True}
    assert {key: parameters[key] for key in resolved} == resolved
    assert parameters["data_dir"] == str(data_dir)
    assert parameters["precision"] == "float32"
    assert parameters["tensorflow_version"].startswith("2.")
    assert {"python_version", "numpy_version", "git_commit"} <= set(parameters)
    assert {"cpu", "cpu_features", "onednn", "memory_free_gb", "disk_free_gb", "horovod_version"} <= set(parameters)
    assert parameters["gpus"] == []


def test_a_seed_that_was_drawn_is_among_the_parameters(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.launch.Runner.run", lambda self: 0)
    assert isinstance(train(data_dir, tmp_path, seed=None).parameters["seed"], int)


@pytest.mark.parametrize("name", LAUNCHER_SIZES)
def test_several_processes_are_refused_before_anything_is_written(data_dir, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "4")
    result = train(data_dir, tmp_path / "run")
    assert result.status == 2
    assert f"CRITICAL: {name}=4: 4 processes were launched" in result.error
    assert not (tmp_path / "run").exists()


def test_notes_about_the_command_are_warnings(launched):
    assert "WARNING: --top_k has no effect in --mode train" in launched(lambda runner: 0, "--top_k=3").error


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", {"debug", "info", "warning"}), ("info", {"info", "warning"}), ("error", set())],
)
def test_the_level_decides_what_is_heard(launched, level, heard):
    def act(runner):
        for name in ("debug", "info", "warning"):
            getattr(logging.getLogger("utils.test"), name)("a %s message", name)
        return 0

    result = launched(act, f"--log_level={level}")
    assert {name for name in ("debug", "info", "warning") if f"a {name} message" in result.error} == heard


def test_names_in_messages_stay_on_one_line(launched):
    """A file name may hold anything but a slash and a zero."""

    def act(runner):
        logging.getLogger("utils.test").warning("%s: restored:\n%s", Path("a\nb\x1b[2J"), "  1  loaded")
        raise FileNotFoundError(2, "No such file or directory", "c\nd")

    result = launched(act)
    assert "WARNING: a\\nb\\x1b[2J: restored:\n  1  loaded\n" in result.error
    assert result.error.endswith("CRITICAL: c\\nd: No such file or directory\n")


def test_the_environment_is_left_as_it_was(data_dir, tmp_path):
    before = dict(os.environ)
    run(*network(data_dir, tmp_path, "evaluate"), "--batch_size=4", "--deterministic", "--xla")
    assert dict(os.environ) == before


def test_a_command_knows_what_it_was_given():
    command = parse(["--mode=training_benchmark", "--batch_size=4", "--num_iter=60"], {})
    assert command.config.data.source == "synthetic"
