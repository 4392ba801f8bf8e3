"""The contestants of this program, in this process: small networks, few steps."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tools.measure.compare import dalis_own, ours, runtimes
from tools.measure.compare.example_images import write_images
from utils.checkpoints import find_checkpoint
from utils.records.split_files import load_split
from utils.system.versions import DALI_PACKAGES, installed

NETWORK = ("--arch=resnet18", "--batch_size=2", "--image_size=32")


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    monkeypatch.setattr(ours, "load_tensorflow", lambda settings=None: None)


@pytest.mark.slow
def test_training_stops_between_turns_and_ends_after_the_last(turns_of):
    facts, answers = turns_of(ours.network, 2, 3, flags=[*NETWORK, "--mode=training_benchmark"], threads=1)
    assert (facts["precision"], facts["version"][:11]) == ("float32", "TensorFlow ")
    assert facts["parameters"] > 11_000_000
    assert len(answers) == 2
    assert all(answer["seconds"] > 0 and answer["peak_mb"] > 100 for answer in answers)


@pytest.mark.slow
def test_inference_runs_with_a_new_checkpoint(turns_of, tmp_path):
    ours.checkpoint("resnet18", str(tmp_path / "run"))
    assert find_checkpoint(tmp_path / "run") is not None
    flags = [*NETWORK, "--mode=inference_benchmark", f"--model_dir={tmp_path / 'run'}"]
    facts, answers = turns_of(ours.network, 4, flags=flags, threads=1)
    assert facts["output"] == [2, 1001]
    assert facts["flops_per_image"] > 70_000_000
    assert len(answers) == 1


def test_the_peak_is_a_product_of_matrices(turns_of):
    facts, answers = turns_of(ours.gemm, 3, side=64, precision="bfloat16", threads=1)
    assert facts["precision"] == "bfloat16"
    assert len(answers) == 1


def test_batches_are_made_of_records(turns_of, data_dir):
    options = {"data_dir": str(data_dir), "batch": 4, "image_size": 32, "threads": 1}
    _, answers = turns_of(ours.training_input, 2, 2, dali=False, **options)
    assert len(answers) == 2


@pytest.mark.skipif(not installed(DALI_PACKAGES), reason="no DALI")
def test_dali_makes_batches_of_the_same_records(turns_of, data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    options = {"data_dir": str(tmp_path / "data"), "batch": 4, "image_size": 32, "threads": 1}
    facts, answers = turns_of(dalis_own.training_input, 2, **options)
    assert facts["version"].startswith("DALI ")
    assert len(answers) == 1


def test_images_for_other_loaders_are_those_of_the_records(data_dir, tmp_path):
    write_images(str(data_dir), tmp_path)
    key = {"image/encoded": tf.io.FixedLenFeature((), tf.string)}
    records = tf.data.TFRecordDataset(list(load_split(data_dir, "train").paths))
    encoded = [tf.io.parse_single_example(record, key)["image/encoded"].numpy() for record in records]
    assert len(encoded) == 20
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == encoded


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network in ONNX: the mean of an image's pixels as logits [N, 3]."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    ends = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("input", ["N", None, None, 3]), ("logits", ["N", 3]))
    ]
    axes = onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    node = make.make_node("ReduceSum", ["input", "axes"], ["logits"], keepdims=0)
    graph = make.make_graph([node], "sum", ends[:1], ends[1:], [axes])
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    opset = [make.make_opsetid("", 17)]
    path.write_bytes(make.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return path


@pytest.mark.parametrize(("entry", "more"), [("onnx_runtime", {}), ("openvino", {"precision": "float32"})])
def test_runtimes_run_a_network_at_a_batch_size(turns_of, model, entry, more):
    pytest.importorskip({"onnx_runtime": "onnxruntime"}.get(entry, entry))
    options = {"path": str(model), "batch": 2, "image_size": 8, "threads": 1, **more}
    facts, answers = turns_of(getattr(runtimes, entry), 3, **options)
    assert facts["output"] == [2, 3]
    assert facts["precision"] == "float32"
    assert len(answers) == 1
