"""A script's file name is a promise: the command of each SSD320 script is compared with its name."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from object_detection.model_command import parse
from tests import launching
from tests.launching import ROOT
from utils.errors import UsageError

EXAMPLES = ROOT / "examples"
CONFIGS = ROOT / "object_detection" / "configs"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("SSD320_*.sh"))
NAME = re.compile(
    r"SSD320_(?:(?P<precision>FP16|FP32)_(?:(?P<gpus>[148])GPU(?P<benchmark>_BENCHMARK)?|inference)|evaluate)\.sh"
)
RUNS = [name for name in SCRIPTS if NAME.fullmatch(name)["gpus"]]
TRAINING = [name for name in RUNS if "BENCHMARK" not in name]
BENCHMARKS = [name for name in RUNS if "BENCHMARK" in name]
INFERENCE = [name for name in SCRIPTS if "inference" in name]
TENSOR_CORE_VARIABLES = (
    "TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32",
    "TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32",
    "TF_ENABLE_CUDNN_RNN_TENSOR_OP_MATH_FP32",
)

FAKE_PYTHON = f"""#!{sys.executable}
# Stands in for the interpreter: fakes the programs that a script starts, and runs everything else.
import json, os, sys

words = sys.argv[1:]
if words[0] != "-u":
    os.execv(sys.executable, [sys.executable, *words])
told = {{"words": words[1:], "environment": {{k: v for k, v in os.environ.items() if k.startswith("TF_")}}}}
with open(os.environ["TOLD"], "w") as file:
    json.dump(told, file)
print("training output", flush=True)
print("and warnings", file=sys.stderr)
flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
if "report_file" in flags and os.environ.get("SPEEDS"):
    os.makedirs(flags["model_dir"])
    with open(flags["report_file"], "w") as file:
        for number, speed in enumerate(json.loads(os.environ["SPEEDS"]), start=1):
            record = {{"type": "LOG", "step": [0, 10 * number], "data": {{"imgs_per_sec": speed, "loss": 1.0}}}}
            file.write("DLLL " + json.dumps(record) + "\\n")
sys.exit(int(os.environ.get("STATUS", "0")))
"""

FAKE_MPIEXEC = """#!/bin/bash
while [ "$1" != "$PYTHON" ]; do shift; done
exec "$@"
"""


def run(name, *arguments, cwd, **environment):
    return launching.run(f"examples/{name}", *arguments, cwd=cwd, **environment)


def dry_run(name, *arguments, cwd):
    return launching.dry_run(f"examples/{name}", *arguments, cwd=cwd)


@pytest.fixture
def fakes(tmp_path):
    """An environment with stand-ins that record the scripts' commands instead of training."""
    for name, text in (("python", FAKE_PYTHON), ("mpiexec", FAKE_MPIEXEC)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "cwd").mkdir()
    return {
        "PYTHON": str(tmp_path / "bin" / "python"),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told.json"),
        "cwd": tmp_path / "cwd",
    }


def told(fakes):
    return json.loads(Path(fakes["TOLD"]).read_text())


def test_the_scripts_are_those_that_users_know():
    runs = {f"SSD320_{p}_{n}GPU{b}.sh" for p in ("FP16", "FP32") for n in (1, 4, 8) for b in ("", "_BENCHMARK")}
    assert set(SCRIPTS) == runs | {"SSD320_FP16_inference.sh", "SSD320_FP32_inference.sh", "SSD320_evaluate.sh"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_executed_and_helps(name, tmp_path):
    assert os.access(EXAMPLES / name, os.X_OK)
    done = run(name, "--help", cwd=tmp_path, PYTHON=sys.executable)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"bash examples/{name} " in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_comment_at_the_top_says_what_the_name_says(name):
    comment = (EXAMPLES / name).read_text().splitlines()[1]
    facts = NAME.fullmatch(name)
    assert comment.endswith(f": bash examples/{name} --help")
    if facts["gpus"]:
        assert f" {facts['gpus']} GPU" in comment
    if facts["precision"]:
        assert {"FP16": "mixed", "FP32": "single"}[facts["precision"]] in comment


@pytest.mark.parametrize("name", RUNS)
def test_processes_and_precision_are_those_of_the_name(name, tmp_path):
    facts = NAME.fullmatch(name)
    launcher, program, flags = dry_run(name, cwd=tmp_path)
    assert program == Path("object_detection/model_main.py")
    assert ("--amp" in flags) == (facts["precision"] == "FP16")
    assert parse(flags, {}).config.precision.tf32 == (facts["precision"] != "FP32")
    if facts["gpus"] == "1":
        assert launcher == []
    else:
        assert launcher[launcher.index("-np") + 1] == facts["gpus"]


@pytest.mark.parametrize("name", TRAINING)
def test_training_takes_the_config_of_its_gpus_and_the_folder_of_its_name(name, tmp_path):
    gpus = int(NAME.fullmatch(name)["gpus"])
    _, _, flags = dry_run(name, cwd=tmp_path)
    command = parse(flags, {})
    run = command.config.run
    assert (run.mode, run.results_dir) == ("train_and_evaluate", f"/results/{name.removesuffix('.sh')}")
    assert (run.duration.value, run.duration.unit) == (100_000 // gpus, "batch")
    assert command.config.optimizer.learning_rate == pytest.approx(0.02 * gpus)
    assert command.config.optimizer.warmup_steps == 8000 // gpus
    assert command.config.data.batch_size_per_replica == 32
    assert command.config.precision.amp == ("FP16" in name)
    assert f"--pipeline_config_path={CONFIGS}/ssd320_full_{gpus}gpus.config" in flags


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_trains_1200_steps_of_its_config_and_does_not_evaluate(name, tmp_path):
    _, _, flags = dry_run(name, cwd=tmp_path)
    command = parse(flags, {})
    run, folder = command.config.run, f"/results/{name.removesuffix('.sh')}/benchmark_run"
    assert (run.mode, run.results_dir, run.report_file) == ("train", folder, f"{folder}/summary.json")
    assert (run.duration.value, run.duration.unit) == (1200, "batch")
    assert run.display_every <= 300 / 4
    assert command.config.precision.amp == ("FP16" in name)
    assert f"--pipeline_config_path={CONFIGS}/ssd320_bench.config" in flags
    assert not [note for note in command.notes if note.startswith("--")]


@pytest.mark.parametrize("name", RUNS)
def test_folders_come_first_and_all_else_goes_to_the_program(name, tmp_path):
    extra = ["--seed", "1", "--hparams_overrides=train_input_path=/my data/*,batch_size=2", "--amp"]
    config = "ssd320_bench" if "BENCHMARK" in name else f"ssd320_full_{NAME.fullmatch(name)['gpus']}gpus"
    for folders in ([], ["out here"], ["out here", "my configs"]):
        _, _, flags = dry_run(name, *folders, *extra, cwd=tmp_path)
        assert flags[-4:] == extra
        results, configs = [*folders, *[f"/results/{name.removesuffix('.sh')}", str(CONFIGS)][len(folders) :]]
        assert flags[0] == f"--pipeline_config_path={configs}/{config}.config"
        assert flags[1] in (f"--model_dir={results}", f"--model_dir={results}/benchmark_run")


def test_evaluation_writes_beside_the_checkpoints_or_where_it_is_told_to(tmp_path_factory):
    cwd, run_folder = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("run")
    config = f"--pipeline_config_path={CONFIGS / 'ssd320_full_1gpus.config'}"
    for given, out in (
        ([f"{run_folder}"], f"{run_folder}/eval"),
        ([f"{run_folder}/"], f"{run_folder}/eval"),
        ([f"{run_folder}/model.ckpt-7"], f"{run_folder}/eval"),
        (["model.ckpt-7"], "./eval"),
        ([f"{run_folder}", "my out"], "my out"),
    ):
        launcher, program, flags = dry_run("SSD320_evaluate.sh", *given, "--amp", cwd=cwd)
        assert (launcher, program) == ([], Path("object_detection/model_main.py"))
        where = [f"--checkpoint_dir={given[0]}", f"--model_dir={out}", f"--report_file={out}/summary.json"]
        assert flags == [config, *where, "--run_once", "--amp"]
        run = parse(flags, {}).config.run
        assert (run.mode, run.model_dir, run.results_dir) == ("evaluate", given[0], out)
        assert not run.watch_checkpoints


@pytest.mark.parametrize("arguments", [[], ["--amp"]])
def test_evaluation_of_nothing_shows_how_it_is_called(arguments, tmp_path):
    done = run("SSD320_evaluate.sh", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bash examples/SSD320_evaluate.sh CHECKPOINT [OUT]" in done.stderr


def test_a_flag_that_is_none_is_refused_by_the_program(tmp_path):
    _, _, flags = dry_run("SSD320_FP16_1GPU.sh", "out", "--num_train_step=7", cwd=tmp_path)
    with pytest.raises(UsageError, match="num_train_step"):
        parse(flags, {})


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_takes_the_config_folder_first_or_not_at_all(name, tmp_path):
    flags = ["--batch_size", "8", "--checkpoint_dir", "my run"]
    for folders in ([], ["my configs"]):
        launcher, program, words = dry_run(name, *folders, *flags, cwd=tmp_path)
        assert (launcher, program) == ([], Path("examples/SSD320_inference.py"))
        configs = folders[0] if folders else CONFIGS
        precision = ["--no_tf32"] if "FP32" in name else []
        assert words == [f"--pipeline_config_path={configs}/ssd320_full_1gpus.config", *precision, *flags]


@pytest.mark.parametrize("name", INFERENCE)
def test_the_help_of_inference_ends_with_the_flags_of_its_program(name, tmp_path):
    assert "--warmup_iters" in run(name, "--help", cwd=tmp_path, PYTHON=sys.executable).stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_environment_is_the_originals(name, fakes):
    run(name, "out", **fakes)
    expected = {} if "inference" in name else dict.fromkeys(TENSOR_CORE_VARIABLES, "0")
    if name == "SSD320_FP16_inference.sh":
        expected["TF_ENABLE_AUTO_MIXED_PRECISION"] = "1"
    assert told(fakes)["environment"] == expected


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("status", ["0", "75"])
def test_training_ends_with_its_programs_status_and_8_gpus_leave_a_log(name, status, fakes):
    done = run(name, "my out", **fakes, STATUS=status)
    assert done.returncode == int(status)
    log = fakes["cwd"] / "my out" / "train_log"
    if "8GPU" in name:
        assert log.read_text() == "training output\nand warnings\n" == done.stdout
    else:
        assert (done.stdout, done.stderr) == ("training output\n", "and warnings\n")
        assert not log.exists()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_the_average_speed_of_its_last_300_steps(name, fakes):
    facts = NAME.fullmatch(name)
    # 300 steps in intervals of 10: half of them take 0.1 s a step for 10 images, half 0.4 s: 10 / 0.25 = 40
    done = run(name, "my out", **fakes, SPEEDS=json.dumps([1.0] * 90 + [100.0] * 15 + [25.0] * 15))
    gpus = "Single GPU" if facts["gpus"] == "1" else f"{facts['gpus']} GPUs"
    precision = {"FP16": "mixed", "FP32": "single"}[facts["precision"]]
    line = f"{gpus} {precision} precision training performance: 40.00 img/s\n"
    output = "training output\nand warnings\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, output + line, "")
    out = fakes["cwd"] / "my out"
    assert (out / "train_log").read_text() == line + output
    assert sorted(path.name for path in out.iterdir()) == ["summary.json", "train_log"]


def test_a_benchmark_starts_anew_each_time_and_leaves_other_runs_in_its_folder_alone(fakes):
    out = fakes["cwd"] / "out"
    (out / "benchmark_run").mkdir(parents=True)
    (out / "benchmark_run" / "checkpoint").touch()
    (out / "model.ckpt-7.index").touch()
    for speed in (50.0, 60.0):
        done = run("SSD320_FP32_1GPU_BENCHMARK.sh", "out", **fakes, SPEEDS=json.dumps([speed] * 120))
        assert done.stdout.endswith(f"performance: {speed:.2f} img/s\n")
        assert (out / "train_log").read_text().count("training output") == 1
    assert sorted(path.name for path in out.iterdir()) == ["model.ckpt-7.index", "summary.json", "train_log"]


@pytest.mark.parametrize(("status", "ends_with"), [("1", 1), ("75", 75), ("0", 1)])
def test_a_benchmark_that_measured_nothing_fails_and_keeps_the_log(status, ends_with, fakes):
    done = run("SSD320_FP16_8GPU_BENCHMARK.sh", "out", **fakes, STATUS=status)
    assert done.returncode == ends_with
    assert "performance" not in done.stdout
    assert done.stderr.endswith(
        f"SSD320_FP16_8GPU_BENCHMARK.sh: no speed was measured (status {ends_with}); the log is out/train_log\n"
    )
    assert (fakes["cwd"] / "out" / "train_log").read_text() == "training output\nand warnings\n"


@pytest.mark.parametrize("name", ["SSD320_FP16_8GPU.sh", "SSD320_FP16_8GPU_BENCHMARK.sh"])
def test_a_folder_that_cannot_be_written_to_ends_it_before_anything_runs(name, fakes):
    (fakes["cwd"] / "file").touch()
    done = run(name, "file/out", **fakes)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "file" in done.stderr
    assert not Path(fakes["TOLD"]).exists()
