"""The command as a program: it starts from any folder, quickly and with clean errors. Training is tested elsewhere."""

import os
import subprocess
import sys
import time

import pytest

from object_detection.pipeline.config import ROOT
from tests.object_detection.pipeline.pipelines import CONFIGS, FULL

PROGRAM = ROOT / "object_detection" / "model_main.py"


START = "sitecustomize.py"
"""Python runs this file before the program if its folder is on PYTHONPATH."""


def run(*arguments, cwd, **environ):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=60
    )


def run_without(folder, modules, *arguments):
    """Runs the program with ``modules`` blocked from being imported."""
    (folder / START).write_text(f"import sys; sys.modules.update(dict.fromkeys({modules}))", encoding="utf-8")
    return run(*arguments, cwd=folder, PYTHONPATH=str(folder))


def test_help_is_there_in_under_a_second_from_any_folder(tmp_path):
    start = time.perf_counter()
    finished = run("--help", cwd=tmp_path)
    seconds = time.perf_counter() - start
    assert finished.returncode == 0, finished.stderr
    assert "--pipeline_config_path" in finished.stdout
    assert seconds < 1


def test_help_needs_no_library(tmp_path):
    finished = run_without(tmp_path, ["tensorflow", "numpy", "google", "PIL"], "--help")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("safe_path", ["", "1"])
def test_the_folder_of_the_program_is_no_place_to_import_from(tmp_path, safe_path):
    """Guards against modules of that folder that share a library's name."""
    text = "import atexit, sys; atexit.register(lambda: print(*sys.path, sep='\\n'))"
    (tmp_path / START).write_text(text, encoding="utf-8")
    finished = run("--model_dir=M", cwd=tmp_path, PYTHONPATH=str(tmp_path), PYTHONSAFEPATH=safe_path)
    problem = "model_main.py: error: --pipeline_config_path: needed; --help lists all flags\n"
    assert (finished.returncode, finished.stderr) == (2, problem)
    assert finished.stdout.splitlines()[0] == str(ROOT)
    assert str(PROGRAM.parent) not in finished.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model_dri=M"], "--model_dri: unknown flag; did you mean --model_dir?"),
        (
            ["--hparams_overrides=batchsize=2"],
            "--hparams_overrides: batchsize: no such field; did you mean batch_size?",
        ),
        (
            ["--hparams_overrides=train_config.optimizer.adam_optimizer={}"],
            "--hparams_overrides: train_config.optimizer",
        ),
        (["--eval_training_data"], "--eval_training_data: needs --checkpoint_dir"),
    ],
)
def test_wrong_usage_ends_with_one_sentence_and_status_2_before_tensorflow(tmp_path, arguments, problem):
    config = f"--pipeline_config_path={CONFIGS / FULL[0]}.config"
    finished = run_without(tmp_path, ["tensorflow"], "--model_dir=M", config, *arguments)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"model_main.py: error: {problem}")
    assert finished.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == [START]


def test_it_runs_as_a_module_too():
    command = [sys.executable, "-m", "object_detection.model_main", "--model_dir=M"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (finished.returncode, finished.stderr.count("\n")) == (2, 1)
