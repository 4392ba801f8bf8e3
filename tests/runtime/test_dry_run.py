"""A dry run tells the plan of every mode, writes nothing, and is refused as the run would be."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from runtime.reporting.run_facts import learning_rate
from tests.bad_input.launching import launch
from tests.runtime.runs import Run, network, picture, run, write_data
from utils.config import MODES
from utils.files.file_lock import locked
from utils.learning_rate import Schedule

MEASURED = ("--iter_unit=batch", "--num_iter=6", "--warmup_steps=2")


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything in a folder, by its path."""
    found = (path for path in folder.rglob("*") if not path.name.startswith("."))
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def plan(*arguments) -> dict[str, str]:
    """The rows that a dry run prints."""
    done = run(*arguments, "--dry_run")
    assert done.status == 0, done.error
    return rows(done)


def rows(done: Run) -> dict[str, str]:
    heading, *lines = done.output.splitlines()
    assert "--dry_run" in heading
    found: dict[str, str] = {}
    for line in lines:
        label = line[:15].strip() or list(found)[-1]
        found[label] = f"{found[label]}\n{line[15:]}" if label in found else line[15:]
    return found


@pytest.fixture
def images(tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number))
    return tmp_path / "images"


def flags_of(mode, data, weights, images):
    """The flags that a mode needs beside --arch and --results_dir."""
    given = [f"--mode={mode}", "--image_size=64", "--seed=3"]
    given += [f"--to_predict={images}"] if mode == "predict" else ["--batch_size=2", f"--data_dir={data}"]
    given += MEASURED if "benchmark" in mode else []
    return given + ([f"--model_dir={weights}"] if mode in ("evaluate", "predict", "inference_benchmark") else [])


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_a_classifier_has_a_plan_and_writes_nothing(mode, sound, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path), contents(sound)
    flags = flags_of(mode, sound / "data", sound / "trained", images)
    found = plan("--arch=resnet50", *flags, "--results_dir=results/new")
    assert (contents(tmp_path), contents(sound)) == before
    assert found["Mode"] == mode
    assert found["Network"].startswith("resnet50; 3 classes; 64 x 64 pixels; ")
    assert re.search(r"; [\d.,]+ k? ?parameters, [\d.]+ MFLOP an image$", found["Network"])
    assert re.match(r"about [\d.,]+ [MG]B: [\d.,]+ [MG]B program, [\d.,]+ k?M?B variables, ", found["Memory"])
    assert "results/new/log.json: log, appended" in found["Writes"]
    assert found["Seed"].startswith("3")
    lengths = {
        **dict.fromkeys(("train", "train_and_evaluate"), "steps 1 to 10 of 10; 10 steps an epoch, 2 images a step"),
        "evaluate": "5 batches of 2 images",
        "predict": "3 images in 1 batch of 3",
        "training_benchmark": "steps 1 to 6 of 6; 10 steps an epoch, 2 images a step",
        "inference_benchmark": "6 batches of 2 images",
    }
    assert found["Plan"] == lengths[mode]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_a_detector_has_a_plan_and_writes_nothing(mode, sound_detector, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path), contents(sound_detector)
    flags = flags_of(mode, sound_detector / "data", sound_detector / "trained", images)
    found = plan("--arch=ssd320", *flags)
    assert (contents(tmp_path), contents(sound_detector)) == before
    assert found["Network"].startswith("ssd320; 3 classes; 64 x 64 pixels; ")
    assert ("Schedule" in found) == ("train" in mode)


def written_by(flags, places) -> set[str]:
    """Names of the files that a run writes to some folders; each is in its plan, and all of the plan is there."""
    planned = rows(run(*flags, "--dry_run", report=True))["Writes"]
    promised = [line.partition(": ")[0] for line in planned.splitlines()]
    before = {path for place in places for path in place.rglob("*")}
    assert run(*flags, report=True).status == 0
    written = {path for place in places for path in place.rglob("*") if path.is_file()} - before
    unplanned = set(written)
    for text in promised:
        pattern = re.compile(re.sub("STEP|FROM|TO|\\\\\\*", ".*", re.escape(text)) + "(/.*)?")
        assert any(pattern.match(str(path)) for path in (*written, *before)), text
        unplanned = {path for path in unplanned if not pattern.match(str(path))}
    assert {path.name for path in unplanned} <= {"checkpoint"}
    return {path.name for path in written}


@pytest.mark.slow
def test_the_files_of_a_run_are_those_that_it_writes(sound, images, tmp_path):
    data = shutil.copytree(sound / "data", tmp_path / "data", ignore=shutil.ignore_patterns(".dali_idx"))
    with_dali = ["--dali"] if importlib.util.find_spec("nvidia.dali") else []
    flags = (*network(data, tmp_path / "r", "train_and_evaluate"), "--batch_size=4", "--lr_init=0.1", "--num_iter=1")
    flags += ("--profile=1,2", f"--export_dir={tmp_path / 'exported'}", *with_dali)
    trained = written_by(flags, [tmp_path])
    assert trained >= {"log.json", "report.html", "evaluation.json", "trace-1-2.json.gz", "saved_model.pb"}
    assert any(name.startswith("train-") for name in trained) == bool(with_dali)
    weights = f"--model_dir={tmp_path / 'r'}"
    evaluated = written_by((*network(data, tmp_path / "e", "evaluate"), "--batch_size=4", weights), [tmp_path])
    assert {name for name in evaluated if "tfevents" not in name} == {"log.json", "report.html", "evaluation.json"}
    assert len(evaluated) == 4
    flags = ("--mode=predict", f"--to_predict={images}", f"--results_dir={tmp_path / 'p'}", weights)
    assert written_by(flags, [tmp_path]) == {"log.json", "predictions.json", "predictions.csv"}


def test_a_run_that_goes_on_or_starts_warm_says_so(sound, tmp_path):
    flags = ("--batch_size=4", "--lr_init=0.1")
    trained = shutil.copytree(sound / "trained", tmp_path / "trained")
    before = contents(tmp_path)
    going_on = plan(*network(sound / "data", trained, "train"), *flags, "--num_iter=3")
    assert going_on["Weights"] == f"continued from {trained}/model.ckpt-5, step 5"
    assert going_on["Plan"].startswith("steps 6 to 15 of 15; ")
    done = plan(*network(sound / "data", trained, "train"), *flags, "--num_iter=1")
    assert done["Plan"].startswith("no step left, 5 of 5; ")
    warm = plan(*network(sound / "data", tmp_path / "new", "train"), *flags, f"--finetune_checkpoint={trained}")
    assert warm["Weights"] == f"new run from those of {trained}"
    fresh = plan(*network(sound / "data", tmp_path / "new", "train"), *flags)
    assert (fresh["Weights"], fresh["Seed"]) == ("new, random", "random")
    assert "Advice" not in going_on
    assert warm["Advice"].startswith(
        "--lr_warmup_epochs: the warm-up of 25 steps is not over when the run ends at step 5"
    )
    assert [line.split(":")[0] for line in fresh["Advice"].splitlines()] == [
        *("--num_iter", "--lr_warmup_epochs", "--cosine_lr", "--batch_size")
    ]
    assert contents(tmp_path) == before


REFUSED = {
    "a batch larger than the data": ("train", ["--batch_size=21"]),
    "no data": ("train", ["--batch_size=4", "--data_dir={tmp}/none"]),
    "no checkpoint": ("evaluate", ["--batch_size=4"]),
    "a checkpoint that is not there": ("evaluate", ["--batch_size=4", "--model_dir={tmp}/model.ckpt-7"]),
    "results in a file": ("train", ["--batch_size=4", "--results_dir={tmp}/file/r"]),
    "results where no folder can be": ("train", ["--batch_size=4", "--results_dir=/proc/x"]),
    "an index that is not there": ("train_and_evaluate", ["--batch_size=4", "--dali", "--data_idx_dir={tmp}/none"]),
    "an index of other records": ("train", ["--batch_size=4", "--dali", "--data_idx_dir={tmp}/folder"]),
    "results that are a file": ("train", ["--batch_size=4", "--results_dir={tmp}/file"]),
    "a log that is none": ("train", ["--batch_size=4", "--results_dir={tmp}", "--log_filename=file"]),
    "a log that is a folder": ("train", ["--batch_size=4", "--results_dir={tmp}", "--log_filename=folder"]),
    "an export to a file": ("train", ["--batch_size=4", "--export_dir={tmp}/file"]),
    "checkpoints in a file": ("train", ["--batch_size=4", "--model_dir={tmp}/file/m"]),
    "a folder that another run trains in": ("train", ["--batch_size=4", "--results_dir={tmp}/locked"]),
    "a warm start from nothing": ("train", ["--batch_size=4", "--finetune_checkpoint={tmp}/none"]),
    "weights of another network": ("train", ["--batch_size=4", "--results_dir={trained}", "--arch=resnet18"]),
    "frozen random weights": ("train", ["--batch_size=4", "--freeze_backbone"]),
    "nothing to measure": ("training_benchmark", ["--batch_size=4", "--num_iter=1"]),
    "no image": ("predict", ["--model_dir={trained}", "--to_predict={tmp}/none"]),
    "a trace after the end": ("train", ["--batch_size=4", "--profile=90,91"]),
    "another optimizer": ("train", ["--batch_size=4", "--results_dir={trained}", "--optimizer=adam"]),
}


REFUSED_AT_ONCE = ("no data", "no checkpoint", "a checkpoint that is not there", "no image", "another optimizer")
"""The run writes nothing either, not even to its log."""


@pytest.mark.parametrize("case", REFUSED)
def test_a_dry_run_is_refused_as_the_run_would_be(case, sound, trained_copy, tmp_path, monkeypatch):
    mode, more = REFUSED[case]
    if "--dali" in more:
        pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no log")
    for name in ("folder", "locked"):
        (tmp_path / name).mkdir()
    data = [f"--data_dir={sound / 'data'}"] if mode != "predict" else []
    flags = ["--arch=resnet50", "--image_size=16", "--seed=3", f"--mode={mode}", *data, "--results_dir=r"]
    flags += [flag.format(tmp=tmp_path, trained=trained_copy) for flag in more]
    with locked(tmp_path / "locked"):
        before = contents(tmp_path)
        dry = launch(*flags, "--dry_run")
        assert contents(tmp_path) == before
        real = launch(*flags)
    assert (dry.status, dry.error.splitlines()[-1]) == (real.status, real.error.splitlines()[-1])
    assert real.status in (1, 2)
    assert dry.output == ""
    if case in REFUSED_AT_ONCE:
        assert contents(tmp_path) == before


@pytest.fixture
def trained_copy(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound / "trained", tmp_path / "trained"))


def test_averages_that_are_used_are_named(sound, tmp_path):
    flags = ("--batch_size=4", "--lr_init=0.1", "--num_iter=1", "--ema_decay=0.9")
    assert run(*network(sound / "data", tmp_path / "r", "train"), *flags).status == 0
    found = plan(*network(sound / "data", tmp_path / "r", "evaluate"), "--batch_size=4")
    assert "exponential moving averages" in found["Averages"]
    assert found["Weights"] == f"{tmp_path}/r/model.ckpt-5, step 5"


def test_the_plan_of_an_evaluation_while_training_tells_how_often(sound, tmp_path):
    flags = (*network(sound / "data", tmp_path / "r", "train_and_evaluate"), "--batch_size=4")
    assert plan(*flags)["Evaluation"] == "at the end; keeps the best by top-1"
    more = ("--num_iter=9", "--eval_every_epochs=2", "--early_stop_patience=3")
    assert plan(*flags, *more)["Evaluation"] == (
        "every 2 epochs; keeps the best by top-1; stops after 3 without a better result"
    )


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule(kind="step", peak=0.5, warmup_steps=0, decay_steps=100), "learning rate 0.5, constant"),
        (
            Schedule(kind="step", peak=0.5, warmup_steps=10, decay_steps=100, boundaries=(30, 60, 90, 120)),
            "learning rate 0.5 after 10 warm-up steps, divided by 10 after step 30, 60, 90",
        ),
        (
            Schedule(kind="cosine", peak=1 / 3, start=0.1, warmup_steps=1, decay_steps=2000),
            "learning rate 0.3333 after 1 warm-up step from 0.1, then a cosine to 0 at step 2,000",
        ),
        (
            Schedule(kind="cosine", peak=0.5, warmup_steps=100, decay_steps=100),
            "learning rate 0.5 after 100 warm-up steps, which the run does not reach",
        ),
    ],
)
def test_a_schedule_is_told_as_far_as_the_run_goes(schedule, words):
    assert learning_rate(schedule, 100) == words


def test_data_without_a_manifest_is_counted(tmp_path):
    data = write_data(tmp_path / "data", manifest=False)
    before = contents(tmp_path)
    found = plan(*network(data, tmp_path / "r", "train"), "--batch_size=4", "--num_classes=3")
    assert found["Data"] == f"{data}: 20 images to train on"
    assert contents(tmp_path) == before


def test_memory_that_is_not_free_is_told(sound, tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.planning.facts.memory_gb", lambda: (16.0, 0.1))
    found = plan(*network(sound / "data", tmp_path / "r", "train"), "--batch_size=4")
    assert found["Memory"].endswith("; only 100 MB are free")


def test_the_log_of_the_run_has_no_trace_of_the_flag(sound, tmp_path):
    flags = (*network(sound / "data", tmp_path / "r", "train"), "--batch_size=4", "--iter_unit=batch", "--num_iter=1")
    assert "dry_run" not in json.dumps(run(*flags).log)


def test_a_plan_needs_the_memory_of_its_largest_images(sound, tmp_path):
    def memory(*sizes):
        found = plan(*network(sound / "data", tmp_path / "r", "train"), "--batch_size=4", "--num_iter=1", *sizes)
        return int(re.search(r"([\d.]+) MB activations", found["Memory"])[1])

    assert memory("--progressive_sizes=16:0,192:0.5") == memory("--image_size=192") > memory()
