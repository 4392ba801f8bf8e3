"""Quantization in whole runs: the checkpoint's description, other modes, and rejections."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.specs import QuantizationSpec
from runtime.classification.task import classification_task
from tests.runtime.runs import assert_same_checkpoint, network, run, tiny_networks, train, values
from tests.runtime.scenes import write_scenes
from tests.runtime.tiny_classifier import config
from tests.utils.checkpoints.weights import without_checksums
from utils.errors import EXIT_USAGE

pytestmark = pytest.mark.slow

QUANTIZED = ("--quantize", "--symmetric", "--use_qdq", "--per_channel_weights", "--deterministic")


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, data_dir):
    """Two epochs of quantized training with their evaluations. Tests must not change them."""
    results = tmp_path_factory.mktemp("quantized") / "run"
    finished = train(data_dir, results, *QUANTIZED, "--num_iter=2", "--lr_init=0.5", mode="train_and_evaluate")
    assert finished.status == 0, finished.error
    return results, finished


def evaluate(data, model, results, *more):
    return run(
        "--mode=evaluate",
        f"--data_dir={data}",
        f"--model_dir={model}",
        f"--results_dir={results}",
        "--batch_size=4",
        *more,
    )


def test_a_checkpoint_says_how_it_was_quantized(quantized):
    stored = json.loads((quantized[0] / "model.ckpt-10.json").read_text())
    assert stored["quantization"] == {"symmetric": True, "qdq": True, "delay": 0, "per_channel": True}


def test_evaluation_quantizes_without_being_told(quantized, data_dir, tmp_path):
    folder, trained = quantized
    again = evaluate(data_dir, folder, tmp_path / "e")
    assert again.status == 0, again.error
    assert again.parameters["quantize"]
    assert again.parameters["use_qdq"]
    assert again.summary["loss"] == pytest.approx(trained.summary["loss"], rel=1e-6)
    prefix = tmp_path / "float" / "model.ckpt-10"
    prefix.parent.mkdir()
    for path in folder.glob("model.ckpt-10.*"):
        (prefix.parent / path.name).write_bytes(path.read_bytes())
    metadata = without_checksums(folder / "model.ckpt-10.json")
    (prefix.parent / "model.ckpt-10.json").write_text(json.dumps({**metadata, "quantization": None}))
    as_float = evaluate(data_dir, prefix, tmp_path / "f")
    assert as_float.summary["loss"] != again.summary["loss"]
    assert as_float.summary["loss"] == pytest.approx(again.summary["loss"], rel=0.2)


def test_a_resumed_run_has_the_ranges_of_one_that_was_never_interrupted(quantized, data_dir, tmp_path):
    options = (*QUANTIZED, "--num_iter=2", "--lr_init=0.5")
    for more in (("--run_iter=1",), ()):
        finished = train(data_dir, tmp_path, *options, *more, mode="train_and_evaluate")
        assert finished.status == 0, finished.error
    assert_same_checkpoint(tmp_path / "model.ckpt-10", quantized[0] / "model.ckpt-10")


def test_a_float_checkpoint_is_where_quantized_training_begins(trained, data_dir, tmp_path):
    finished = train(
        data_dir, tmp_path, "--quantize", "--num_iter=1", "--lr_init=0", f"--finetune_checkpoint={trained}"
    )
    assert finished.status == 0, finished.error
    assert "new, not in the checkpoint" in finished.error
    before, after = values(trained / "model.ckpt-5"), values(tmp_path / "model.ckpt-5")
    kernel = "resnet50/conv2d/conv2d/kernel"
    np.testing.assert_array_equal(after[kernel], before[kernel])
    moved = after["resnet50/conv2d/BatchNorm/moving_mean"] - before["resnet50/conv2d/BatchNorm/moving_mean"]
    assert np.abs(moved).max() > 0  # updated by five batches, starting at the stored statistics and not at 0
    ranges = {name: value for name, value in after.items() if name.endswith("_quant/max")}
    assert len(ranges) == 13  # of 6 kernels and 7 activations
    assert all(value != 6.0 for value in ranges.values())


def test_what_is_exported_is_the_quantized_network(quantized, data_dir, tmp_path):
    folder, _ = quantized
    finished = evaluate(data_dir, folder, tmp_path / "e", f"--export_dir={tmp_path / 'export'}")
    assert finished.status == 0, finished.error
    (model,) = (tmp_path / "export").iterdir()
    kinds = {node.op for node in tf.saved_model.load(str(model)).signatures["predict"].graph.as_graph_def().node}
    assert any(kind.startswith("QuantizeAndDequantize") for kind in kinds)
    assert json.loads((model / "assets.extra" / "metadata.json").read_text())["quantization"]["qdq"]


def test_quantization_begins_after_the_delay(data_dir, tmp_path):
    options = ("--num_iter=1", "--lr_init=0.5", "--display_every=1", "--deterministic")
    exact = train(data_dir, tmp_path / "a", *options)
    delayed = train(data_dir, tmp_path / "b", *options, "--quantize", "--quant_delay=3")
    first, second = dict(exact.losses), dict(delayed.losses)
    assert [second[step] == pytest.approx(first[step], rel=1e-5) for step in (1, 2, 3)] == [True] * 3
    assert second[4] != pytest.approx(first[4], rel=1e-6)
    assert values(tmp_path / "b" / "model.ckpt-5")["fake_quantization_step"] == 5


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--quantize",), ("--quantize: the checkpoint was trained without it",)),
        (("--quantize", "--symmetric"), ("--quantize: the checkpoint was trained without it", "--finetune_checkpoint")),
    ],
)
def test_a_float_checkpoint_is_not_evaluated_in_8_bits(trained, data_dir, tmp_path, flags, words):
    refused = evaluate(data_dir, trained, tmp_path, *flags)
    assert refused.status == EXIT_USAGE
    assert all(word in refused.error for word in words)


@pytest.mark.parametrize("arch", ["resnet18", "se-resnext101-32x4d"])
def test_other_blocks_train_and_evaluate_quantized_in_mixed_precision(arch, data_dir, tmp_path):
    finished = run(
        *network(data_dir, tmp_path, "train_and_evaluate", arch),
        "--batch_size=4",
        "--quantize",
        "--amp",
        "--num_iter=1",
    )
    assert finished.status == 0, finished.error
    assert np.isfinite(finished.summary["loss"])


@pytest.mark.parametrize("arch", ["resnet50", "ssd320"])
def test_both_benchmarks_quantize(arch, tmp_path):
    for mode in ("training_benchmark", "inference_benchmark"):
        finished = run(
            f"--mode={mode}",
            f"--arch={arch}",
            *("--batch_size=2", "--num_iter=3", "--warmup_steps=1", "--iter_unit=batch", "--image_size=64"),
            *("--num_classes=3", "--quantize", f"--results_dir={tmp_path}"),
        )
        assert finished.status == 0, finished.error
        assert finished.parameters["quantize"]


def test_a_detector_trains_quantized_and_is_evaluated_and_used_as_it_was_trained(tmp_path):
    data = write_scenes(tmp_path / "data")
    finished = run(
        *network(data, tmp_path / "run", "train_and_evaluate", "ssd320"),
        *("--image_size=64", "--batch_size=2", "--num_iter=1", "--quantize", "--seed=1"),
    )
    assert finished.status == 0, finished.error
    stored = values(tmp_path / "run" / "model.ckpt-5")
    assert stored["WeightSharedConvolutionalBoxPredictor/ClassPredictor/act_quant/max"] != 6.0
    again = evaluate(data, tmp_path / "run", tmp_path / "e", f"--export_dir={tmp_path / 'export'}")
    assert again.status == 0, again.error
    assert again.parameters["quantize"]
    assert again.summary["Precision/mAP"] == pytest.approx(finished.summary["Precision/mAP"], abs=1e-6)


@pytest.mark.parametrize("arch", ["resnet50", "se-resnext101-32x4d"])
def test_a_network_quantizes_by_zero_points_where_a_scale_alone_cannot_be_converted(arch):
    quantization = QuantizationSpec(qdq=True, symmetric=True)
    tiny = config(num_classes=3)
    tiny = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, architecture=arch))
    with tiny_networks():
        network = classification_task(tiny, {}, 5, LayerOptions(quantization=quantization)).network
        plain = classification_task(tiny, {}, 5, LayerOptions()).network
    names, kinds = [], []
    for same in (network, network.by_zero_point()):
        with tf.Graph().as_default() as graph:
            same.forward(tf.zeros([1, 16, 16, 3]), training=False)
            names.append([v.op.name for v in tf.compat.v1.global_variables()])
            kinds.append({op.type for op in graph.get_operations() if "Quant" in op.type})
    assert names[0] == names[1]
    assert kinds == [{"QuantizeAndDequantizeV4"}, {"FakeQuantWithMinMaxVars"}]
    assert plain.by_zero_point().layers.quantization is None
