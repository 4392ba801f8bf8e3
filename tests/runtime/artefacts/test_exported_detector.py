"""SSD320 in every format: suppression inside if the format supports it, the same metrics everywhere."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from runtime.artefacts.formats import FORMATS
from tests.runtime.artefacts.exports import ALL, INSTALLED, export, formats, need_packages
from tests.runtime.runs import run
from tests.runtime.scenes import NAMES, picture_of, scene

need_packages("onnx", "tflite")
pytestmark = pytest.mark.slow
FLAGS = ("--arch=ssd320", "--batch_size=2")


@pytest.fixture(scope="module")
def exported(scenes, detector, tmp_path_factory):
    """The detector in every format."""
    folder = tmp_path_factory.mktemp("detector")
    found = export(folder, f"--model_dir={detector}", f"--data_dir={scenes}", f"--format={ALL}")
    assert found.status == 0, found.output + found.error
    return found


def test_every_format_is_the_network(exported):
    for name in INSTALLED:
        row, entry = FORMATS[name], exported.of(name)
        assert entry["drift"] < {"float32": 1e-5, "float16": 5e-3, "int8": 0.1}[row.precision]
        assert set(entry["largest_difference"]) == {"box_codes", "class_logits"}
        assert entry["metric"] == "Precision/mAP"
        if row.precision == "float32":
            assert entry["of_artefact"] == pytest.approx(entry["of_checkpoint"], abs=1e-3)
    assert "CONV_2D float32" not in exported.of("tflite_int8")["operators"]


@pytest.mark.parametrize("name", formats("saved_model", "onnx", "tflite_int8", "openvino"))
def test_main_evaluates_it_with_all_of_coco_s_metrics(exported, scenes, tmp_path, name):
    path = f"--model_dir={exported.of(name)['path']}"
    result = run("--mode=evaluate", *FLAGS, f"--data_dir={scenes}", path, f"--results_dir={tmp_path}")
    assert result.status == 0, result.error
    assert result.summary["Precision/mAP"] == pytest.approx(exported.of(name)["of_artefact"], abs=1e-6)
    assert (tmp_path / "detections.json").exists()


def test_main_draws_what_it_finds(exported, tmp_path):
    (tmp_path / "0.png").write_bytes(picture_of(scene(0), 0))
    path = f"--model_dir={exported.of('onnx')['path']}"
    flags = (f"--to_predict={tmp_path / '0.png'}", f"--results_dir={tmp_path}", "--min_score=0")
    result = run("--mode=predict", path, *flags)
    assert result.status == 0, result.error
    (row,) = json.loads((tmp_path / "predictions.json").read_text())
    assert row["predictions"][0]["name"] in NAMES
    assert row["picture"] == str(tmp_path / "pictures" / "0.jpg")  # pictures are JPEG files, whatever the original
    with Image.open(row["picture"]) as picture, Image.open(tmp_path / "0.png") as original:
        assert picture.size == original.size
        assert np.abs(np.asarray(picture, np.int16) - np.asarray(original, np.int16)).max() > 100  # frames


def test_an_encoded_image_gives_boxes_with_names(exported):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], exported.of("saved_model")["path"])
        signature = meta.signature_def["encoded"]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        found = session.run(outputs, {signature.inputs["images"].name: [picture_of(scene(0), 0)]})
    count = int(found["num_detections"][0])
    assert count > 0
    assert {name.decode() for name in found["class_names"][0, :count]} <= set(NAMES)
    assert {name.decode() for name in found["class_names"][0, count:]} <= {""}
