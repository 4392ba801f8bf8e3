"""A detector of pictures that keep their proportions in an input that is not square, in every mode and format."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.artefacts.exports import INSTALLED, export
from tests.runtime.runs import run
from tests.runtime.scenes import picture_of, scene, write_scenes

WIDTH, SIZE = 160, [128, 192]  # pictures of 96 x 160 pixels take 115 x 192 of the input
FLAGS = ("--arch=ssd320", "--backbone=resnet18", "--batch_size=2", "--seed=1")
EXPORTED = [name for name in ("saved_model", "onnx", "tflite", "openvino") if name in INSTALLED]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Wide scenes in ``data``, and in ``run`` a detector trained on them."""
    folder = tmp_path_factory.mktemp("padded")
    data = write_scenes(folder / "data", train=6, validation=4, width=WIDTH)
    given = (f"--data_dir={data}", f"--results_dir={folder / 'run'}", "--num_iter=2", "--lr_init=1")
    done = run(*FLAGS, "--mode=train_and_evaluate", *given, "--image_size=128x192", "--resize=pad")
    assert done.status == 0, done.error
    assert (done.parameters["image_size"], done.parameters["resize"]) == ("128x192", "pad")
    return folder


@pytest.fixture(scope="module")
def evaluated(folder):
    given = (f"--model_dir={folder / 'run'}", f"--data_dir={folder / 'data'}", f"--results_dir={folder / 'eval'}")
    done = run("--mode=evaluate", "--batch_size=3", *given)
    assert done.status == 0, done.error
    return done


def found(folder, number):
    """The detections that an evaluation wrote for a picture: boxes ``[ymin, xmin, ymax, xmax]`` in pixels."""
    rows = [row for row in json.loads((folder / "detections.json").read_text()) if row["image_id"] == number + 1]
    corners = [(y, x, y + height, x + width) for x, y, width, height in (row["bbox"] for row in rows)]
    return np.array(corners), np.array([row["score"] for row in rows])


def test_the_description_says_both(folder):
    described = json.loads((folder / "run" / "model.ckpt-6.json").read_text())
    assert (described["image_size"], described["resize"]) == (SIZE, "pad")


def test_evaluation_follows_the_weights_and_its_boxes_are_in_the_pictures(folder, evaluated):
    assert evaluated.parameters["resize"] == "pad"
    assert evaluated.summary["images"] == 4
    boxes, scores = found(folder / "eval", 1000)
    assert len(boxes) > 10
    assert boxes.min() >= 0
    assert (boxes <= (96, WIDTH, 96, WIDTH)).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
    assert boxes[:, 2].max() > 90  # some boxes reach the lower edge
    assert (np.diff(scores) <= 0).all()


def test_prediction_finds_what_evaluation_finds(folder, evaluated, tmp_path):
    (tmp_path / "scene.png").write_bytes(picture_of(scene(1000), 1000, width=WIDTH))
    given = (f"--to_predict={tmp_path / 'scene.png'}", "--min_score=0", "--batch_size=1", f"--results_dir={tmp_path}")
    done = run("--mode=predict", f"--model_dir={folder / 'run'}", *given)
    assert done.status == 0, done.error
    (row,) = json.loads((tmp_path / "predictions.json").read_text())
    boxes, scores = found(folder / "eval", 1000)
    assert len(row["predictions"]) == len(scores)
    np.testing.assert_allclose([one["score"] for one in row["predictions"]], scores, atol=1e-5)
    np.testing.assert_allclose([one["box_px"] for one in row["predictions"]][:3], boxes[:3], atol=0.02)


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    names = f"--format={','.join(EXPORTED)}"
    done = export(
        tmp_path_factory.mktemp("exported"), f"--model_dir={folder / 'run'}", f"--data_dir={folder / 'data'}", names
    )
    assert done.status == 0, done.output + done.error
    return done


@pytest.mark.slow
def test_artefacts_know_height_and_width_and_give_the_same_metric(folder, evaluated, exported, tmp_path):
    assert exported.report["image_size"] == SIZE
    for name in EXPORTED:
        entry, results = exported.of(name), tmp_path / name
        assert entry["drift"] < 1e-5
        flags = (f"--model_dir={entry['path']}", f"--data_dir={folder / 'data'}", f"--results_dir={results}")
        done = run("--mode=evaluate", "--batch_size=2", *flags)
        assert done.status == 0, done.error
        assert done.summary["Precision/mAP"] == pytest.approx(evaluated.summary["Precision/mAP"], abs=1e-3)
        np.testing.assert_allclose(found(results, 1000)[0][:3], found(folder / "eval", 1000)[0][:3], atol=0.02)
        refused = run("--mode=evaluate", "--arch=ssd320", "--batch_size=2", *flags, "--image_size=128")
        assert refused.status == 2
        assert f"--image_size 128: {entry['path']} takes images of 128x192 pixels" in refused.error


@pytest.mark.slow
def test_a_model_that_decodes_images_gives_boxes_of_the_pictures(folder, evaluated, exported):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], exported.of("saved_model")["path"])
        signature = meta.signature_def["encoded"]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        encoded = picture_of(scene(1000), 1000, width=WIDTH)
        values = session.run(outputs, {signature.inputs["images"].name: [encoded] * 2})
    boxes, scores = found(folder / "eval", 1000)
    assert values["num_detections"].tolist() == [len(scores)] * 2
    np.testing.assert_allclose(values["detection_boxes"][1, :3] * (96, WIDTH, 96, WIDTH), boxes[:3], atol=0.01)


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_another_way_to_fit_pictures_is_refused(folder, mode, tmp_path):
    given = (f"--data_dir={folder / 'data'}", f"--model_dir={folder / 'run'}", f"--results_dir={tmp_path}")
    refused = run(*FLAGS, f"--mode={mode}", *given, "--resize=stretch")
    assert refused.status == 2
    assert "--resize stretch: the checkpoint was trained with pad; leave it out" in refused.error
    assert not (tmp_path / "detections.json").exists()


def test_a_run_goes_on_as_it_began(folder, tmp_path):
    given = (f"--data_dir={folder / 'data'}", f"--results_dir={tmp_path}", "--num_iter=2", "--iter_unit=batch")
    begun = run(*FLAGS, "--mode=train", *given, "--image_size=128x192", "--resize=pad", "--run_iter=1")
    assert begun.status == 0, begun.error
    resumed = run(*FLAGS, "--mode=train", *given)
    assert resumed.status == 0, resumed.error
    assert (resumed.parameters["image_size"], resumed.parameters["resize"]) == ("128x192", "pad")
    described = json.loads((tmp_path / "model.ckpt-2.json").read_text())
    assert (described["image_size"], described["resize"]) == (SIZE, "pad")


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
def test_benchmarks_take_height_and_width(mode, tmp_path):
    given = ("--num_iter=3", "--warmup_steps=1", "--iter_unit=batch", f"--results_dir={tmp_path}")
    done = run(*FLAGS, f"--mode={mode}", *given, "--image_size=64x128")
    assert done.status == 0, done.error
    assert done.parameters["image_size"] == "64x128"


def test_classifiers_refuse_both(tmp_path):
    given = ("--arch=resnet50", "--mode=training_benchmark", "--batch_size=2", f"--results_dir={tmp_path}")
    refused = run(*given, "--num_iter=1", "--image_size=64x96")
    assert refused.status == 2
    assert "--image_size 64x96: the images of a classifier are square; give one number" in refused.error
