"""Trials that launch the program: their comparisons, and what they say of a failed launch."""

import sys

import numpy as np
import pytest

from tools.doctor.gpu import launches
from tools.doctor.probe import Skipped
from utils.errors import RunError


@pytest.mark.slow
def test_a_resumed_run_ends_in_the_same_weights():
    assert launches.exact_resume().facts["tensors"] > 60


def test_a_tensor_that_differs_after_a_resume_is_noticed(monkeypatch):
    monkeypatch.setattr(launches, "launch", lambda command: "")
    states = iter([{"a": np.zeros(2), "b": np.ones(2)}, {"a": np.zeros(2), "b": np.nextafter(np.ones(2), 2)}])
    monkeypatch.setattr(launches, "_tensors", lambda folder: next(states))
    with pytest.raises(RunError, match=r"1 of 2 tensors differ after a resumed run: \['b'\]"):
        launches.exact_resume()


@pytest.mark.parametrize(
    ("two", "sentence"), [([2.0, 1.001], "differ from those of one by 1.0e-03"), ([2.0], "one process logged 2 losses")]
)
def test_losses_of_two_processes_that_differ_are_noticed(two, sentence, monkeypatch):
    monkeypatch.setattr(launches, "launch", lambda command: "")
    monkeypatch.setattr(launches, "version_of", lambda *names, how: "0.28.1")
    monkeypatch.setattr(launches, "launcher", lambda path: ("mpiexec", ["mpiexec"]))
    monkeypatch.setattr(launches, "_losses", lambda folder: [2.0, 1.0] if folder.name == "one" else two)
    with pytest.raises(RunError, match=sentence):
        launches.two_processes()


def test_memory_options_need_a_gpu():
    with pytest.raises(Skipped):
        launches.memory_options()


def test_a_failed_launch_quotes_its_error():
    with pytest.raises(RunError, match=r"ended with status 2: .*--no_such_flag"):
        launches.launch([sys.executable, "main.py", "--no_such_flag"])


def test_the_memory_proof_runs_up_to_the_query_of_the_card(tmp_path, monkeypatch):
    """A stand-in for nvidia-smi answers 100 of 10,000 MB, then 300."""
    program, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    program.write_text(f"#!/bin/sh\nif [ -e {asked} ]; then echo 300, 10000; else echo 100, 10000; fi\ntouch {asked}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert launches._gpu_memory([]) == {"taken": 0.02, "context": 0.2048}
