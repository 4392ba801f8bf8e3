"""Damaged or foreign artefacts, and those unfit for a mode, are rejected with a sentence and export nothing."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from runtime.artefacts.formats import FORMATS
from runtime.artefacts.model_dir import open_artefact
from tests.runtime.artefacts.exports import export, formats, need_packages
from tests.runtime.runs import run, values
from tests.utils.checkpoints.weights import without_checksums
from tools.export import main
from utils.errors import RunError, UsageError

need_packages("onnx", "tflite")
tf1 = tf.compat.v1


def evaluate(path, data_dir, tmp_path, *more):
    flags = (f"--data_dir={data_dir}", f"--results_dir={tmp_path / 'eval'}", "--batch_size=4", f"--model_dir={path}")
    return run("--mode=evaluate", *flags, *more)


def copied(exported, name, folder):
    """A copy of an artefact that a test may change."""
    source, target = exported.folder / FORMATS[name].file, folder / FORMATS[name].file
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        for path in (*source.parent.glob(f"{source.name}*"), *source.parent.glob(f"{source.stem}.bin")):
            shutil.copy(path, folder)
    return target


@pytest.mark.parametrize("name", formats("saved_model", "frozen", "onnx", "tflite", "tflite_int8", "openvino"))
@pytest.mark.parametrize(
    "share", [0.0, pytest.param(0.3, marks=pytest.mark.slow), pytest.param(0.95, marks=pytest.mark.slow)]
)
def test_a_truncated_artefact_is_a_sentence(exported, data_dir, tmp_path, name, share):
    path = copied(exported, name, tmp_path)
    file = path / "saved_model.pb" if path.is_dir() else path
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    result = evaluate(path, data_dir, tmp_path)
    assert result.status == 1
    assert str(path) in result.error
    assert "Traceback" not in result.error


def test_a_saved_model_without_its_weights_is_a_sentence(exported, data_dir, tmp_path):
    path = copied(exported, "saved_model", tmp_path)
    shutil.rmtree(path / "variables")
    result = evaluate(path, data_dir, tmp_path)
    assert result.status == 1
    assert f"{path}: cannot be read as a SavedModel" in result.error


def test_a_frozen_graph_without_the_file_beside_it_is_a_sentence(exported, data_dir, tmp_path):
    path = copied(exported, "frozen", tmp_path)
    (tmp_path / "model.pb.json").unlink()
    result = evaluate(path, data_dir, tmp_path)
    assert result.status == 1
    assert "model.pb.json: cannot be read: No such file or directory" in result.error


def test_a_model_of_another_program_has_no_metadata(exported, data_dir, tmp_path):
    import onnx

    path = copied(exported, "onnx", tmp_path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    result = evaluate(path, data_dir, tmp_path)
    assert result.status == 1
    assert f"{path}: has no metadata from this project" in result.error


def test_an_openvino_model_without_its_weights_is_a_sentence(exported, data_dir, tmp_path):
    need_packages("openvino")
    path = copied(exported, "openvino", tmp_path)
    (tmp_path / "model.bin").unlink()
    result = evaluate(path, data_dir, tmp_path)
    assert result.status == 1
    assert f"{tmp_path / 'model.bin'}: no such file; it holds the weights of {path} (--model_dir)" in result.error


@pytest.mark.parametrize("size", ["same", "shorter", "longer"])
def test_an_openvino_model_with_other_weights_is_a_sentence(exported, tmp_path, size):
    need_packages("openvino")
    path = copied(exported, "openvino", tmp_path)
    weights = bytearray((tmp_path / "model.bin").read_bytes())
    weights[100] ^= 1
    other = {"same": weights, "shorter": weights[:-200], "longer": weights + b"more"}[size]
    (tmp_path / "model.bin").write_bytes(other)
    with pytest.raises(RunError, match=r"model\.bin: does not belong to .*model\.xml \(--model_dir\) or is damaged"):
        open_artefact(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation><filename>x.jpg</filename></annotation>", "cannot be read as an OpenVINO model"),
        ("no XML", "cannot be read as an OpenVINO model"),
        (
            '<net name="n" version="11"><layers/><edges/></net>',
            "has no metadata from this project",
        ),
    ],
)
def test_another_program_s_xml_is_a_sentence(tmp_path, text, sentence):
    need_packages("openvino")
    (tmp_path / "model.xml").write_text(text)
    (tmp_path / "model.bin").write_bytes(bytes(64))
    with pytest.raises(RunError, match=f"model.xml: {sentence}"):
        open_artefact(tmp_path / "model.xml")


def test_an_openvino_that_cannot_be_imported_is_a_usage_error(tmp_path, monkeypatch):
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('libtbb.so.12: cannot open it')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    sentence = r"model.xml: needs the package openvino, which cannot be imported \(libtbb\.so\.12: cannot open it\)"
    with pytest.raises(UsageError, match=sentence):
        open_artefact(tmp_path / "model.xml")
    assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is None


def test_metadata_of_another_network_are_found_out(exported, data_dir, tmp_path):
    path = copied(exported, "frozen", tmp_path)
    beside = tmp_path / "model.pb.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"num_classes": 5}))
    result = evaluate(path, data_dir, tmp_path)
    assert result.status == 1
    assert f"{path}: has 3 classes, but its metadata say 5" in result.error


@pytest.mark.parametrize(
    ("name", "package"), [("onnx", "onnxruntime"), ("tflite", "ai_edge_litert"), ("openvino", "openvino")]
)  # fmt: skip
def test_a_missing_package_says_how_to_install_it(exported, data_dir, tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    result = evaluate(exported.folder / FORMATS[name].file, data_dir, tmp_path)
    assert result.status == 2
    assert "is not installed: python -m pip install -r requirements/export.txt" in result.error


def test_artefacts_do_not_train_and_are_not_exported_again(exported, data_dir, tmp_path):
    path = exported.of("saved_model")["path"]
    flags = (f"--data_dir={data_dir}", f"--results_dir={tmp_path}", "--batch_size=4", f"--model_dir={path}")
    trained = run("--mode=train", *flags)
    assert (trained.status, "is an artefact; --mode train writes checkpoints" in trained.error) == (2, True)
    again = run("--mode=evaluate", *flags, f"--export_dir={tmp_path / 'x'}")
    assert (again.status, "is an artefact already; export its checkpoint" in again.error) == (2, True)


def test_sizes_that_were_asked_for_must_be_the_artefact_s(exported, data_dir, tmp_path):
    result = evaluate(exported.of("onnx")["path"], data_dir, tmp_path, "--image_size=32")
    assert result.status == 2
    assert "--image_size 32: " in result.error
    assert "takes images of 16 pixels" in result.error


def test_a_folder_of_artefacts_names_them(exported, data_dir, tmp_path):
    result = evaluate(exported.folder, data_dir, tmp_path)
    assert result.status == 1
    assert "name one of the artefacts in the folder: model.onnx, model.pb, " in result.error


def test_amp_has_no_effect_on_an_artefact_and_says_so(exported, data_dir, tmp_path):
    result = evaluate(exported.of("frozen")["path"], data_dir, tmp_path, "--amp")
    assert result.status == 0
    assert "--amp: has no effect on" in result.error


def test_weights_that_are_no_numbers_are_not_exported(trained, tmp_path):
    stored = values(trained / "model.ckpt-5")
    name = "resnet50/output/dense/bias"
    stored[name] = np.array([0.0, np.nan, 0.0], np.float32)
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.get_variable(n, initializer=v, use_resource=True) for n, v in stored.items()]
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver(variables).save(session, str(tmp_path / "model.ckpt-5"), write_meta_graph=False)
    description = without_checksums(trained / "model.ckpt-5.json")
    (tmp_path / "model.ckpt-5.json").write_text(json.dumps(description))
    found = export(tmp_path / "exp", f"--model_dir={tmp_path}", "--format=frozen,saved_model")
    assert found.status == 1
    assert f"{name}: 1 of its 3 values are not finite; the weights are damaged" in found.error
    assert not (tmp_path / "exp").exists()


def test_training_images_that_are_missing_are_not_replaced_by_validation_images(trained, data_dir, tmp_path):
    data = Path(shutil.copytree(data_dir, tmp_path / "data"))
    (data / "train-00001-of-00002").unlink()
    found = export(tmp_path / "x", f"--model_dir={trained}", f"--data_dir={data}", "--format=tflite_int8")
    assert found.status == 1
    assert f"{data / 'train-00001-of-00002'}: is missing; dataset.json of" in found.error
    assert not (tmp_path / "x").exists()


def test_int8_needs_images_or_trained_ranges(trained, tmp_path):
    found = export(tmp_path, f"--model_dir={trained}", "--format=frozen,tflite_int8")
    assert found.status == 2
    assert "--format tflite_int8: needs --data_dir for its calibration set" in found.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--format=caffe",), "--format caffe: must be some of saved_model,frozen,onnx,"),
        (("--format=onx",), f"--format onx: must be some of {','.join(FORMATS)}; did you mean onnx?"),
        (("--format=,",), "--format ',': must be some of"),
        (("--format=tflite_int8", "--calibration_images=0"), "--calibration_images 0: must be a positive integer"),
        (("--batch_size=0",), "--batch_size 0: must be a positive integer"),
        (("--image_size=0",), "--image_size 0: must be a positive integer"),
        (("--max_drift=-1",), "--max_drift -1.0: must be 0 or more"),
        (("--opset=17",), "--opset: only used with --format onnx"),
        (("--write_text_graphdef",), "--write_text_graphdef: only used with --format frozen"),
        (("--input_format=NCHW",), "--input_format NCHW: a SavedModel takes images in NHWC"),
        (("--format=tflite", "--compute_format=NCHW"), "--compute_format NCHW: TFLite computes in NHWC"),
    ],
)
def test_contradictions_are_usage_errors(capsys, tmp_path, flags, sentence):
    assert main([f"--model_dir={tmp_path}", f"--export_dir={tmp_path / 'x'}", *flags]) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
    assert not (tmp_path / "x").exists()


def test_what_is_needed_is_asked_for(capsys, tmp_path):
    assert main([]) == 2
    assert "--model_dir: missing" in capsys.readouterr().err
    assert main([f"--model_dir={tmp_path}"]) == 2
    assert "--export_dir: missing" in capsys.readouterr().err


def test_an_opset_that_is_not_offered_is_a_usage_error(trained, tmp_path):
    found = export(tmp_path, f"--model_dir={trained}", "--format=onnx", "--opset=3")
    assert found.status == 2
    assert "--opset 3: must be 13 to 18" in found.error


def test_an_operation_that_a_format_lacks_is_named(tmp_path):
    from runtime.artefacts import openvino_model
    from runtime.artefacts.inference_graph import InferenceGraph
    from runtime.artefacts.onnx_model import write_onnx
    from runtime.artefacts.tflite_model import convert

    with tf.Graph().as_default() as graph:
        image = tf1.placeholder(tf.float32, [None, 4, 4, 3], name="input")
        tf.identity(tf.math.igamma(tf.abs(image) + 1.0, tf.abs(image)), name="logits")
    network = InferenceGraph(graph_def=graph.as_graph_def(), outputs=("logits",))
    with pytest.raises(RunError, match="opset 17 has no operator for Igamma"):
        write_onnx(network, tmp_path / "x.onnx", {})
    with pytest.raises(RunError, match="TFLite has no operator for Igamma"):
        convert(network, ("logits",), "float32", None)
    need_packages("openvino")
    with pytest.raises(RunError, match="--format openvino: OpenVINO has no operator for Igamma"):
        openvino_model.convert(network, "--format openvino")
    assert list(tmp_path.iterdir()) == []
