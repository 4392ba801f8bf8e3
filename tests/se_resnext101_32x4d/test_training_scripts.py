"""A script's file name is a promise: what each training script starts is compared with its name and with the recipe
that was published, the slips of the published scripts corrected."""

import os
import re
import sys
from pathlib import Path

import pytest

from model.specs import QuantizationSpec
from tests.launching import ROOT, dry_run, processes, run
from utils.cmdline_helper import parse
from utils.errors import UsageError

FOLDER = Path("se-resnext101-32x4d/training")
NAME = re.compile(r"(?P<machine>DGX1|DGX2|DGXA100)_SE-RNxt101-32x4d_(?P<precision>AMP|FP32|TF32)_(?P<epochs>\d+)E\.sh")
SCRIPTS = sorted(path.name for path in (ROOT / FOLDER).glob("DGX*.sh"))
QUANTIZED = FOLDER / "GPU1_RN50_QAT.sh"
PROCESSES = {"DGX1": 8, "DGX2": 16, "DGXA100": 8}
BATCH_SIZES = {
    **{("DGX1", "AMP"): 96, ("DGX1", "FP32"): 64, ("DGX2", "AMP"): 96, ("DGX2", "FP32"): 64},
    **{("DGXA100", "AMP"): 256, ("DGXA100", "TF32"): 128},
}
PEAK_RATES = {  # 0.256 for each 256 images of the global batch
    **{("DGX1", "AMP"): 0.768, ("DGX1", "FP32"): 0.512, ("DGX2", "AMP"): 1.536, ("DGX2", "FP32"): 1.024},
    **{("DGXA100", "AMP"): 2.048, ("DGXA100", "TF32"): 1.024},
}
LOSS_SCALES = {("DGX1", "AMP"): 128.0, ("DGX2", "AMP"): 128.0}  # dynamic on a DGX A100


def facts(name):
    match = NAME.fullmatch(name)
    return match["machine"], match["precision"], int(match["epochs"])


def config(words):
    """What the printed flags ask for."""
    return parse(words, {}).config


def test_the_scripts_are_those_that_users_know():
    v100 = {f"{m}_SE-RNxt101-32x4d_{p}_{e}E.sh" for m in ("DGX1", "DGX2") for p in ("AMP", "FP32") for e in (90, 250)}
    a100 = {f"DGXA100_SE-RNxt101-32x4d_{precision}_90E.sh" for precision in ("AMP", "TF32")}
    assert set(SCRIPTS) == v100 | a100
    assert {path.name for path in (ROOT / FOLDER).iterdir()} - set(SCRIPTS) == {"training_perf.sh", QUANTIZED.name}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_runs_is_what_the_name_says(name, tmp_path):
    machine, precision, epochs = facts(name)
    launcher, program, words = dry_run(FOLDER / name, "/out", "/data", cwd=tmp_path)
    settings = config(words)
    assert program == Path("main.py")
    assert processes(launcher) == PROCESSES[machine]
    assert settings.model.architecture == "se-resnext101-32x4d"
    assert (settings.run.duration.value, settings.run.duration.unit) == (epochs, "epoch")
    assert settings.precision.amp == (precision == "AMP")
    assert settings.precision.tf32 == (precision != "FP32")
    assert settings.precision.static_loss_scale == LOSS_SCALES.get((machine, precision))
    assert settings.optimizer.mixup_alpha == (0.2 if epochs == 250 else 0.0)


@pytest.mark.parametrize("name", SCRIPTS)
def test_batch_and_learning_rate_are_those_of_the_published_recipe(name, tmp_path):
    machine, precision, _ = facts(name)
    launcher, _, words = dry_run(FOLDER / name, cwd=tmp_path)
    settings = config(words)
    batch = settings.data.batch_size_per_replica
    assert batch == BATCH_SIZES[machine, precision]
    peak = settings.optimizer.learning_rate_per_256 * batch * processes(launcher) / 256
    assert peak == pytest.approx(PEAK_RATES[machine, precision], rel=1e-12)


@pytest.mark.parametrize("name", SCRIPTS)
def test_all_scripts_share_what_does_not_stand_in_their_names(name, tmp_path):
    _, _, words = dry_run(FOLDER / name, cwd=tmp_path)
    settings = config(words)
    optimizer = settings.optimizer
    assert settings.run.mode == "train_and_evaluate"
    assert settings.run.warmup_steps == 100
    assert (settings.model.weight_init, settings.model.head_init) == ("fan_in", "original")
    assert (optimizer.schedule, optimizer.warmup_epochs, optimizer.momentum) == ("cosine", 8, 0.875)
    assert (optimizer.label_smoothing, optimizer.weight_decay) == (0.1, 1 / 16384)
    assert not settings.precision.xla


@pytest.mark.parametrize("name", SCRIPTS)
def test_folders_come_first_and_all_else_goes_to_the_program(name, tmp_path):
    default = f"/results/{name.removesuffix('.sh')}"
    for folders, result, data in (
        ([], default, "/data"),
        (["/my out/"], "/my out", "/data"),
        (["out", "/my data/"], "out", "/my data"),
    ):
        _, _, words = dry_run(FOLDER / name, *folders, "--xla", "--dali", "--batch_size=7", cwd=tmp_path)
        assert words[-3:] == ["--xla", "--dali", "--batch_size=7"]
        settings = config(words)
        assert (settings.run.results_dir, settings.data.data_dir) == (f"{result}/results", f"{data}/tfrecords")
        assert settings.precision.xla
        assert settings.data.batch_size_per_replica == 7
        assert not [word for word in words if word.startswith("--data_idx_dir")]


def test_an_index_beside_the_records_goes_with_dali_alone(tmp_path_factory):
    data, cwd = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cwd")
    (data / "dali_idx").mkdir()
    index = f"--data_idx_dir={data}/dali_idx"
    assert index in dry_run(FOLDER / SCRIPTS[0], "out", data, "--dali", cwd=cwd)[2]
    assert index not in dry_run(FOLDER / SCRIPTS[0], "out", data, cwd=cwd)[2]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_dgx_a100_binds_its_processes_and_the_others_as_they_are_told(name, tmp_path):
    machine, _, _ = facts(name)
    launcher, _, _ = dry_run(FOLDER / name, cwd=tmp_path)
    assert (launcher[-1] == str(ROOT / "utils" / "shell" / "bind_dgx_a100.sh")) == (machine == "DGXA100")
    launcher, _, _ = dry_run(FOLDER / name, cwd=tmp_path, BIND="socket", LAUNCHER="mpiexec")
    assert launcher[launcher.index("--bind-to") + 1] == "socket"


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("launcher_name", ["mpiexec", "horovodrun", "srun"])
def test_two_machines_have_twice_the_processes(name, launcher_name, tmp_path):
    count = PROCESSES[facts(name)[0]]
    launcher, _, _ = dry_run(FOLDER / name, cwd=tmp_path, HOSTS="first,second", LAUNCHER=launcher_name)
    assert Path(launcher[0]).name == launcher_name
    if launcher_name == "srun":
        assert {"--nodes=2", f"--ntasks={2 * count}", "--nodelist=first,second"} <= set(launcher)
    else:
        assert processes(launcher) == 2 * count
        assert launcher[launcher.index("-H") + 1] == f"first:{count},second:{count}"


def test_a_flag_that_is_none_is_refused_by_the_program(tmp_path):
    _, _, words = dry_run(FOLDER / SCRIPTS[0], "out", "--batchsize=7", cwd=tmp_path)
    with pytest.raises(UsageError, match="batchsize"):
        config(words)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_executed_and_helps(name, tmp_path):
    assert os.access(ROOT / FOLDER / name, os.X_OK)
    done = run(FOLDER / name, "out", "--help", cwd=tmp_path, PYTHON=sys.executable)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"bash {FOLDER}/{name} [RESULT] [DATA]" in done.stdout
    assert f"{PROCESSES[facts(name)[0]]} processes" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_comment_at_the_top_says_what_the_name_says(name):
    machine, precision, epochs = facts(name)
    comment = (ROOT / FOLDER / name).read_text().splitlines()[1]
    assert {"DGX1": "DGX-1", "DGX2": "DGX-2", "DGXA100": "DGX A100"}[machine] + ", " in comment
    assert f"{PROCESSES[machine]} GPUs" in comment
    assert {"AMP": "mixed precision", "FP32": "single precision", "TF32": "TensorFloat-32"}[precision] in comment
    assert f" {epochs} epochs" in comment


def test_the_quantized_network_trains_in_one_process_from_a_checkpoint(tmp_path):
    for folders, data, result in (
        (["/run/best"], "/data/tfrecords", "/results/GPU1_RN50_QAT"),
        (["/run/best", "/my records", "out"], "/my records", "out"),
    ):
        launcher, program, words = dry_run(QUANTIZED, *folders, "--batch_size=7", cwd=tmp_path)
        settings = config(words)
        assert (launcher, program) == ([], Path("main.py"))
        assert settings.model.quantization == QuantizationSpec(symmetric=True, qdq=True)
        assert (settings.model.architecture, settings.run.duration.value) == ("resnet50", 10)
        assert settings.run.finetune_checkpoint == "/run/best"
        assert (settings.data.data_dir, settings.run.results_dir) == (data, result)
        assert settings.data.batch_size_per_replica == 7


def test_the_quantized_network_needs_a_checkpoint_and_helps(tmp_path):
    refused = run(QUANTIZED, "--xla", cwd=tmp_path, PYTHON=sys.executable)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "CHECKPOINT is missing" in refused.stderr
    helped = run(QUANTIZED, "--help", cwd=tmp_path, PYTHON=sys.executable)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("Trains ResNet-50 v1.5 on 1 GPU with weights and activations of 8 bits, 10 epochs.")
    assert f"bash {QUANTIZED} CHECKPOINT [DATA] [RESULT]" in helped.stdout
    assert os.access(ROOT / QUANTIZED, os.X_OK)
