"""Runs of tiny detectors under the flags of model_main.py and a pipeline config."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

from object_detection.model_command import parse
from tests.conftest import ROOT
from tests.runtime.runs import run
from tests.runtime.scenes import write_scenes
from utils import checkpoints

pytestmark = pytest.mark.slow

CONFIG = ROOT / "object_detection" / "configs" / "ssd320_full_1gpus.config"
RESIZER = "model.ssd.image_resizer.fixed_shape_resizer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``data``, and ``model`` after the first launch."""
    folder = tmp_path_factory.mktemp("model_main")
    write_scenes(folder / "data")
    return folder


def launch(folder, *more, **further):
    data = folder / "data"
    overrides = {
        "train_input_path": data / "coco_train*",
        "eval_input_path": data / "coco_val*",
        "num_classes": 4,
        "load_pretrained": "false",
        "batch_size": 2,
        f"{RESIZER}.height": 64,
        f"{RESIZER}.width": 64,
        "label_map_path": data / "label_map.pbtxt",
    } | further
    names = ((1, "red"), (3, "green"), (4, "blue"))
    (data / "label_map.pbtxt").write_text("".join(f"item {{ id: {i} name: '{name}' }}" for i, name in names))
    text = ",".join(f"{name}={value}" for name, value in overrides.items())
    given = (f"--pipeline_config_path={CONFIG}", f"--hparams_overrides={text}", "--seed=3", *more)
    return run(*given, f"--raport_file={folder / 'summary.json'}", read=parse)


@pytest.fixture(scope="module")
def trained(folder):
    result = launch(folder, f"--model_dir={folder / 'model'}", "--num_train_steps=4", "--eval_count=2")
    assert result.status == 0, result.error
    return result


def test_training_evaluates_so_often_and_reports_where_it_is_asked_to(trained, folder):
    evaluated = [record["step"] for record in trained.logged if "Precision/mAP" in record["data"]]
    assert [step[1] for step in evaluated if step] == [2, 4]
    assert trained.summary["images"] == 6
    assert (folder / "model" / "model.ckpt-4.index").is_file()
    assert (folder / "summary.json").is_file()
    assert not (folder / "model" / "log.json").exists()


def test_a_finished_run_is_not_trained_beyond_its_end(trained, folder):
    again = launch(folder, f"--model_dir={folder / 'model'}", "--num_train_steps=4")
    assert again.status == trained.status == 0
    assert "step 4 of 4: nothing left to train" in again.error
    assert not (folder / "model" / "model.ckpt-8.index").exists()


@pytest.mark.parametrize(
    ("flags", "images"),
    [
        (("--run_once",), 6),
        ((), 6),
        (("--run_once", "--sample_1_of_n_eval_examples=4"), 2),
        (("--run_once", "--eval_training_data"), 2),
        (("--run_once", "--eval_training_data", "--sample_1_of_n_eval_on_train_examples=1"), 10),
    ],
    ids=["once", "watching ends with the run", "sampled", "training data, a fifth", "training data, all"],
)
def test_evaluation_alone_reads_what_it_is_asked_to(trained, folder, tmp_path, flags, images):
    assert trained.status == 0
    result = launch(folder, f"--model_dir={tmp_path}", f"--checkpoint_dir={folder / 'model'}", *flags)
    assert result.status == 0, result.error
    assert result.summary["images"] == images
    assert len({row["image_id"] for row in json.loads((tmp_path / "detections.json").read_text())}) <= images


def test_evaluation_waits_for_the_first_checkpoint_of_a_run(trained, folder, tmp_path, monkeypatch):
    assert trained.status == 0
    model = tmp_path / "model"
    monkeypatch.setattr(checkpoints.time, "sleep", lambda seconds: shutil.copytree(folder / "model", model))
    odd = tmp_path / "a, b"
    shutil.copytree(folder / "data", odd)
    sizes = f"{RESIZER}.height=64,{RESIZER}.width=64"
    given = (f"--pipeline_config_path={CONFIG}", f"--hparams_overrides=eval_input_path='{odd}/coco_val*',{sizes}")
    given += (f"--model_dir={tmp_path / 'results'}", f"--checkpoint_dir={model}")
    result = run(*given, f"--raport_file={folder / 'summary.json'}", read=parse)
    assert result.status == 0, result.error
    assert f"waiting for the first checkpoint in {model}" in result.error
    assert "its own classes are used" in result.error
    assert result.summary["images"] == 6
    assert list((tmp_path / "results" / "eval").glob("events.out.tfevents.*"))


def test_a_signal_ends_the_wait_for_the_first_checkpoint(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints.time, "sleep", lambda seconds: os.kill(os.getpid(), signal.SIGTERM))
    result = launch(folder, f"--model_dir={tmp_path / 'results'}", f"--checkpoint_dir={tmp_path / 'model'}")
    assert result.status == 75


def test_messages_use_the_words_of_this_command_line_and_of_the_config(trained, folder, tmp_path):
    assert trained.status == 0
    empty = launch(folder, f"--model_dir={tmp_path}", f"--checkpoint_dir={tmp_path}", "--run_once")
    assert f"--checkpoint_dir {tmp_path}: holds no checkpoint" in empty.error
    few = launch(folder, f"--model_dir={folder / 'model'}", "--num_train_steps=4", num_classes=5)
    assert "model.ssd.num_classes 5: the checkpoint has 4; leave model.ssd.num_classes out" in few.error
    assert (empty.status, few.status) == (1, 2)


def test_a_checkpoint_of_other_classes_gives_its_body_and_the_classes_begin_anew(trained, folder, tmp_path):
    assert trained.status == 0
    start = {
        "load_pretrained": "true",
        "fine_tune_checkpoint": folder / "model",
        "train_config.fine_tune_checkpoint_type": "detection",
        "train_config.load_all_detection_checkpoint_vars": "true",
        "num_classes": 5,
    }
    given = (f"--model_dir={tmp_path / 'new'}", "--num_train_steps=1", "--skip_evaluation")
    result = launch(folder, *given, **start)
    assert result.status == 0, result.error
    assert "has other classes, so the classification layer starts with new weights" in result.error
    assert result.error.count("new, the checkpoint has other classes") == 1


def test_the_classes_and_anchors_of_the_weights_count_whatever_the_config_says(folder, tmp_path):
    smaller = "model.ssd.anchor_generator.multiscale_anchor_generator.anchor_scale=2.0"
    plain = (f"--pipeline_config_path={CONFIG}", f"--raport_file={tmp_path / 'summary.json'}", "--seed=3")
    paths = f"train_input_path={folder / 'data' / 'coco_train*'},eval_input_path={folder / 'data' / 'coco_val*'}"
    sizes = f"{RESIZER}.height=64,{RESIZER}.width=64"
    classes = f"num_classes=4,label_map_path={folder / 'data' / 'label_map.pbtxt'},load_pretrained=false,batch_size=2"
    model = tmp_path / "model"
    trained = run(
        *(*plain, f"--hparams_overrides={paths},{sizes},{classes},{smaller}", f"--model_dir={model}"),
        *("--num_train_steps=2", "--skip_evaluation"),
        read=parse,
    )
    assert trained.status == 0, trained.error
    again = run(
        *(*plain, f"--hparams_overrides={paths},{sizes}", f"--checkpoint_dir={model}", "--run_once"),
        f"--model_dir={tmp_path / 'one'}",
        read=parse,
    )
    assert again.status == 0, again.error
    assert "its own classes are used" in again.error
    given = ("--arch=ssd320", "--mode=evaluate", f"--data_dir={folder / 'data'}", "--batch_size=3")
    other = run(*given, f"--model_dir={model}", f"--results_dir={tmp_path / 'two'}")
    assert other.status == 0, other.error
    ours, theirs = (json.loads((tmp_path / name / "detections.json").read_text()) for name in ("one", "two"))
    np.testing.assert_allclose([d["bbox"] for d in ours], [d["bbox"] for d in theirs], atol=2e-3)
    refused = run(
        *(*given, "--mode=train", "--num_iter=9", f"--results_dir={tmp_path / 'model'}", "--image_size=64"),
        "--centred_p7",
    )
    assert refused.status == 2
    assert "--centred_p7: the checkpoint was trained without it" in refused.error


def test_a_benchmark_without_records_measures_synthetic_images(trained, folder, tmp_path):
    assert trained.status == 0
    result = run(
        *("--mode=inference_benchmark", f"--pipeline_config_path={CONFIG}", f"--checkpoint_dir={folder / 'model'}"),
        *("--batch_size=2", "--num_iter=4", "--warmup_steps=1", "--percentiles=50,80"),
        *(f"--raport_file={tmp_path / 'summary.json'}", f"--hparams_overrides={RESIZER}.height=64,{RESIZER}.width=64"),
        read=parse,
    )
    assert result.status == 0, result.error
    assert "no file matches; measuring on synthetic images" in result.error
    assert result.summary["eval_throughput"] > 0
    assert {"eval_latency_p80", "network_latency_p80"} <= set(result.summary)


def test_a_label_map_that_the_records_contradict_is_refused(folder):
    path = folder / "other.pbtxt"
    path.write_text("item { id: 1 name: 'blue' } item { id: 3 name: 'green' } item { id: 4 name: 'red' }")
    overrides = f"label_map_path={path},num_classes=4,load_pretrained=false,batch_size=2"
    paths = f"train_input_path={folder / 'data' / 'coco_train*'},eval_input_path={folder / 'data' / 'coco_val*'}"
    result = run(
        *(f"--pipeline_config_path={CONFIG}", f"--hparams_overrides={overrides},{paths}", "--num_train_steps=1"),
        *(f"--model_dir={folder / 'refused'}", f"--raport_file={folder / 'refused.json'}"),
        read=parse,
    )
    assert result.status == 2
    assert "category 1 is 'red'" in result.error
