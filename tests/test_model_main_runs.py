"""Runs of tiny detectors under the flags of model_main.py and a pipeline config."""

import json

import pytest

from object_detection.model_command import parse
from tests.conftest import ROOT
from tests.runtime.runs import run
from tests.runtime.scenes import write_scenes

CONFIG = ROOT / "object_detection" / "configs" / "ssd320_full_1gpus.config"
RESIZER = "model.ssd.image_resizer.fixed_shape_resizer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds ``data``, and after the first launch ``model``."""
    folder = tmp_path_factory.mktemp("model_main")
    write_scenes(folder / "data")
    return folder


def launch(folder, *more):
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
    }
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
