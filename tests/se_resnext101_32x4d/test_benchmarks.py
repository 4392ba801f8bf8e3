"""The benchmark scripts: the commands of a dry run, and the tables of runs of a fake program."""

import json
import os
import sys

import pytest

from tests.launching import ROOT, commands, processes, run
from tests.utils.programs import program
from utils.cmdline_helper import parse

INFERENCE = "se-resnext101-32x4d/inference_benchmark.sh"
TRAINING = "se-resnext101-32x4d/training/training_perf.sh"
FAKE_PYTHON = f"""#!{sys.executable}
# Stands for the interpreter: plays main.py, at as many images/s as the batch has, and is itself for all else.
import json, os, sys

words = sys.argv[1:]
if words[0] != "-u":
    os.execv(sys.executable, [sys.executable, *words])
flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
asked = " ".join(words) + " "
print("output of", flags["batch_size"])
for what, status, sentence in json.loads(os.environ.get("ENDS", "[]")):
    if what in asked:
        print(f"CRITICAL: {{sentence}}", file=sys.stderr)
        sys.exit(status)
kind = "eval" if flags["mode"] == "inference_benchmark" else "train"
summary = {{f"{{kind}}_throughput": int(flags["batch_size"])}}
with open(flags["results_dir"] + "/log.json", "w") as file:
    for step, data in (("PARAMETER", {{"precision": "float32"}}), ([], summary)):
        file.write("DLLL " + json.dumps({{"type": "LOG", "step": step, "data": data}}) + "\\n")
"""
MPIEXEC = 'while [ "$1" != "$PYTHON" ]; do shift; done\nexec "$@"'


@pytest.fixture
def fakes(tmp_path):
    """An environment in which nothing but the table is real."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    program(tmp_path / "bin" / "mpiexec", MPIEXEC)
    (tmp_path / "cwd").mkdir()
    return {
        "PYTHON": str(python),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "RESULTS_DIR": "out",
        "cwd": tmp_path / "cwd",
    }


def outcomes(fakes, name):
    """(configuration, GPUs, batch size, images/s or the outcome) of each row."""
    rows = json.loads((fakes["cwd"] / "out" / f"{name}.json").read_text())["rows"]
    facts = ("configuration", "gpus", "batch_size")
    return [(*(row[fact] for fact in facts), row["images_per_s"] or row["outcome"]) for row in rows]


def config(words):
    return parse(words, {})


def label(words):
    """The configuration that flags amount to, in the words of the tables."""
    precision = config(words).config.precision
    name = "AMP" if precision.amp else "TF32" if precision.tf32 else "FP32"
    return ("DALI + " if "--dali" in words else "") + name + (" + XLA" if precision.xla else "")


@pytest.mark.parametrize("index", [[], ["/index"]])
def test_inference_runs_each_configuration_with_batches_up_to_256(tmp_path, index):
    runs = commands(INFERENCE, "/data dir", *index, cwd=tmp_path)
    if not index:
        runs = commands(INFERENCE, cwd=tmp_path)
    labels = ["FP32", "FP32 + XLA", "AMP", "AMP + XLA", *(["DALI + AMP + XLA"] if index else [])]
    sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    settings = [config(words) for _, _, words in runs]
    found = [
        (label(words), s.config.data.batch_size_per_replica) for (_, _, words), s in zip(runs, settings, strict=True)
    ]
    assert found == [(name, size) for name in labels for size in sizes]
    for (launcher, path, words), setting in zip(runs, settings, strict=True):
        assert (launcher, str(path), setting.notes) == ([], "main.py", ())
        assert setting.config.model.architecture == "se-resnext101-32x4d"
        run_config = setting.config.run
        assert (run_config.mode, run_config.warmup_steps) == ("inference_benchmark", 50)
        assert (run_config.duration.value, run_config.duration.unit) == (400, "batch")
        assert setting.config.data.data_dir == ("/data dir" if index else None)
        assert ("--data_idx_dir=/index" in words) == ("--dali" in words)


def test_batches_iterations_and_precision_are_those_of_the_environment_and_flags_go_along(tmp_path):
    runs = commands(INFERENCE, "--arch=resnet50", cwd=tmp_path, BATCH_SIZES="3 5", ITERATIONS="16", SINGLE="TF32")
    assert [label(words) for _, _, words in runs[::2]] == ["TF32", "TF32 + XLA", "AMP", "AMP + XLA"]
    settings = [config(words).config for _, _, words in runs]
    assert [setting.data.batch_size_per_replica for setting in settings] == [3, 5] * 4
    assert {(s.run.duration.value, s.run.warmup_steps, s.model.architecture) for s in settings} == {(16, 2, "resnet50")}


def test_training_runs_each_configuration_on_one_gpu_and_on_all(tmp_path):
    runs = commands(TRAINING, cwd=tmp_path, GPUS="8")
    single, mixed = [("FP32", 64), ("FP32 + XLA", 64)], [("AMP", 96), ("AMP + XLA", 96)]
    found = [(label(words), config(words).config.data.batch_size_per_replica) for _, _, words in runs]
    assert found == [*single, *mixed] * 2
    assert [processes(launcher) for launcher, _, _ in runs] == [1] * 4 + [8] * 4
    for launcher, path, words in runs:
        setting = config(words)
        assert (str(path), setting.notes) == ("main.py", ())
        assert bool(launcher) == (processes(launcher) == 8)
        run_config = setting.config.run
        assert (run_config.mode, run_config.warmup_steps) == ("training_benchmark", 200)
        assert (run_config.duration.value, run_config.duration.unit) == (500, "batch")
        scale = 128.0 if setting.config.precision.amp else None
        assert setting.config.precision.static_loss_scale == scale


def test_training_takes_batch_sizes_first_and_counts_the_gpus(tmp_path_factory):
    path, cwd = tmp_path_factory.mktemp("path"), tmp_path_factory.mktemp("cwd")
    program(path / "nvidia-smi", "echo 'GPU 0: A'; echo 'GPU 1: B'")
    runs = commands(
        TRAINING, "3", "5", "--seed=1", cwd=cwd, PATH=f"{path}:{os.environ['PATH']}", DATA="/d", ITERATIONS="10"
    )
    settings = [config(words).config for _, _, words in runs]
    assert [setting.data.batch_size_per_replica for setting in settings] == [3, 3, 5, 5] * 2
    assert {(s.run.seed, s.data.data_dir, s.run.warmup_steps) for s in settings} == {(1, "/d", 4)}
    assert [processes(launcher) for launcher, _, _ in runs] == [1] * 4 + [2] * 4


def test_each_run_is_a_row_and_what_it_printed_stays(fakes):
    done = run(INFERENCE, **fakes, BATCH_SIZES="1 2", ITERATIONS="8")
    assert (done.returncode, done.stderr) == (0, "")
    labels = ("FP32", "FP32 + XLA", "AMP", "AMP + XLA")
    assert outcomes(fakes, "inference_benchmark") == [(name, 1, size, size) for name in labels for size in (1, 2)]
    out = fakes["cwd"] / "out"
    assert (out / "inference_benchmark_runs" / "AMP_XLA_1_2" / "console.txt").read_text() == "output of 2\n"
    assert done.stdout.startswith("FP32, 1 x batch 1: 1.00 images/s\n")
    assert (out / "inference_benchmark.md").read_text() in done.stdout
    assert f"written to {out}/inference_benchmark.md" in done.stdout


def test_what_does_not_fit_ends_its_row_and_is_no_failure(fakes):
    ends = [["--batch_size=4 ", 1, "out of memory: a smaller --batch_size needs less"]]
    done = run(INFERENCE, **fakes, BATCH_SIZES="2 4 8", ENDS=json.dumps(ends))
    assert (done.returncode, done.stderr) == (0, "")
    found = outcomes(fakes, "inference_benchmark")
    assert found == [
        (n, 1, s, r) for n in ("FP32", "FP32 + XLA", "AMP", "AMP + XLA") for s, r in ((2, 2), (4, "does not fit"))
    ]


def test_where_nothing_fits_the_status_says_that_nothing_was_measured(fakes):
    ends = [["--no_tf32 ", 137, "killed"]]
    done = run(INFERENCE, **fakes, BATCH_SIZES="1 2", ENDS=json.dumps(ends))
    assert done.returncode == 1
    assert done.stderr == "inference_benchmark.sh: no batch size could be measured in one configuration or more\n"
    assert outcomes(fakes, "inference_benchmark")[:2] == [
        ("FP32", 1, 1, "does not fit"),
        ("FP32 + XLA", 1, 1, "does not fit"),
    ]


def test_a_failure_is_in_the_table_the_others_run_and_the_status_is_not_zero(fakes):
    ends = [["--batch_size=2 ", 1, "the disk is gone"]]
    done = run(INFERENCE, **fakes, BATCH_SIZES="1 2 4", ENDS=json.dumps(ends))
    assert done.returncode == 1
    assert "4 of the runs failed" in done.stderr
    assert [row[2:] for row in outcomes(fakes, "inference_benchmark")] == [(1, 1), (2, "failed"), (4, 4)] * 4
    assert done.stdout.count("| failed: the disk is gone |") == 4


@pytest.mark.parametrize("status", [2, 75])
def test_a_wrong_command_or_a_signal_ends_it_at_once(fakes, status):
    ends = [["--batch_size=2 ", status, "a sentence"]]
    done = run(INFERENCE, **fakes, BATCH_SIZES="1 2 4", ENDS=json.dumps(ends))
    assert done.returncode == status
    assert "CRITICAL: a sentence" in done.stderr
    assert outcomes(fakes, "inference_benchmark") == [("FP32", 1, 1, 1)]


@pytest.mark.slow
def test_training_on_all_gpus_has_rows_of_its_own_and_a_batch_too_large_is_a_failure_there(fakes):
    done = run(TRAINING, "2", "3", **fakes, GPUS="4")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [("FP32", 2), ("FP32 + XLA", 2), ("AMP", 3), ("AMP + XLA", 3)]
    assert outcomes(fakes, "training_benchmark") == [(name, n, size, size) for n in (1, 4) for name, size in rows]
    done = run(TRAINING, "2", "3", **fakes, GPUS="4", ENDS=json.dumps([["--batch_size=3 ", 1, "out of memory: no"]]))
    assert done.returncode == 1
    assert "a batch did not fit" in done.stderr
    assert outcomes(fakes, "training_benchmark")[2] == ("AMP", 1, 3, "does not fit")


@pytest.mark.parametrize(
    ("script", "arguments", "environment", "message"),
    [
        (INFERENCE, [], {"BATCH_SIZES": "1,2"}, "BATCH_SIZES=1,2: must be positive integers, separated by spaces"),
        (INFERENCE, [], {"ITERATIONS": "0"}, "ITERATIONS=0: must be a positive integer"),
        (INFERENCE, [], {"ITERATIONS": "4 5"}, "ITERATIONS=4 5: must be a positive integer"),
        (INFERENCE, [], {"WARMUP": "some"}, "WARMUP=some: must be 0 or a positive integer"),
        (INFERENCE, [], {"SINGLE": "FP16"}, "SINGLE=FP16: must be FP32 or TF32"),
        (INFERENCE, ["/no/data"], {}, "inference_benchmark.sh: /no/data: there is no such folder"),
        (TRAINING, ["many"], {}, "FP32_BATCH=many: must be a positive integer"),
        (TRAINING, [], {"GPUS": "2 3"}, "GPUS=2 3: must be a positive integer"),
        (TRAINING, [], {"GPUS": "all"}, "GPUS=all: must be a positive integer"),
        (TRAINING, [], {"DATA": "/no/data"}, "training_perf.sh: DATA=/no/data: there is no such folder"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_runs(fakes, script, arguments, environment, message):
    done = run(script, *arguments, **fakes, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{message}\n")


@pytest.mark.parametrize("script", [INFERENCE, TRAINING])
def test_a_results_folder_that_cannot_be_made_ends_it_before_anything_runs(fakes, script):
    (fakes["cwd"] / "out").touch()
    done = run(script, **fakes)
    assert (done.returncode, done.stdout) == (2, "")
    assert "out" in done.stderr


@pytest.mark.parametrize("script", [INFERENCE, TRAINING])
def test_a_script_can_be_executed_and_helps(script, tmp_path):
    assert os.access(ROOT / script, os.X_OK)
    done = run(script, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"bash {script} " in done.stdout
