"""Checkpoints of other programs, named directly by the flags: their assumed origin and their results."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.runs import network, picture, run, tiny_networks, values
from tests.runtime.scenes import write_scenes
from tests.tools.weights.published_checkpoints import (
    CLASSES,
    SIZE,
    SLIM_MEAN,
    probabilities,
    save_checkpoint,
    slim_values,
    weights_of,
)
from tests.tools.weights.torch_files import Tensor, save

V1, V2 = tf.compat.v1.train.SaverDef.V1, tf.compat.v1.train.SaverDef.V2
QUALITY = ("top1_accuracy", "top5_accuracy", "loss")
SLIM = {"padding": "symmetric_convolutions", "epsilon": 1e-5, "strided": "1x1"}


@pytest.fixture
def nvidia(trained, tmp_path):
    """A checkpoint with NVIDIA's names and without a description."""
    folder = tmp_path / "download"
    folder.mkdir()
    for suffix in ("index", "data-00000-of-00001"):
        shutil.copy(trained / f"model.ckpt-5.{suffix}", folder / f"nvidia_rn50_tf_amp.{suffix}")
    return folder


def test_a_checkpoint_of_nvidias_is_evaluated_as_it_is(nvidia, trained, data_dir, tmp_path):
    flags = ("--mode=evaluate", f"--data_dir={data_dir}", "--batch_size=4", "--image_size=16")
    theirs = run(*flags, f"--model_dir={nvidia}", f"--results_dir={tmp_path / 'a'}")
    ours = run(*flags, f"--model_dir={trained}", f"--results_dir={tmp_path / 'b'}")
    assert theirs.status == 0, theirs.error
    assert {key: theirs.summary[key] for key in QUALITY} == {key: ours.summary[key] for key in QUALITY}
    assert "by its names it is a TensorFlow 1 network of NVIDIA's, taken for resnet50 with 3 classes" in theirs.error
    assert "logit i is label i + 1 of the records" in theirs.error
    assert "not used, optimizer state" in theirs.error
    assert "has no description" not in ours.error


@pytest.mark.slow
def test_training_continues_from_a_checkpoint_of_nvidias_with_its_momentum_and_step(nvidia, data_dir):
    stored = values(nvidia / "nvidia_rn50_tf_amp")
    more = ("--batch_size=4", "--num_iter=6", "--iter_unit=batch", "--lr_warmup_epochs=0", "--lr_init=0")
    result = run(*network(data_dir, nvidia, "train"), *more, "--momentum=0.5", "--weight_decay=0")
    assert result.status == 0, result.error
    assert f"{len(stored)}  loaded  " in result.error
    assert "training from step 5 to 6" in result.error
    after = values(nvidia / "model.ckpt-6")
    bias = "resnet50/output/dense/bias"
    assert (after[bias] == stored[bias]).all()
    assert after["global_step"] == 6
    slot = f"{bias}/Momentum"  # half of the former value and a gradient; the softmax gradients add up to zero
    assert np.abs(stored[slot]).max() > 0
    assert abs((after[slot] - 0.5 * stored[slot]).sum()) < 1e-6


def test_another_network_than_was_asked_for_is_named(nvidia, data_dir, tmp_path):
    flags = network(data_dir, tmp_path, "evaluate", arch="resnext101-32x4d")
    result = run(*flags, "--batch_size=4", f"--model_dir={nvidia}")
    assert result.status == 2
    assert "--arch resnext101-32x4d: the checkpoint holds resnet50" in result.error.splitlines()[-1]


@pytest.mark.filterwarnings("ignore:.*V1.*")
@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize("named", ["folder", "file"])
def test_slims_checkpoint_predicts_what_numpy_computes_with_its_padding_stride_and_mean(tmp_path, version, named):
    weights = weights_of("resnet50")
    (tmp_path / "slim").mkdir()
    path = save_checkpoint(tmp_path / "slim" / "resnet_v1_50.ckpt", slim_values(weights), version)
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number))
    flags = ("--mode=predict", f"--to_predict={tmp_path / 'images'}", f"--results_dir={tmp_path / 'out'}")
    model_dir = path if named == "file" else path.parent
    result = run(*flags, f"--model_dir={model_dir}", f"--image_size={SIZE}")
    assert result.status == 0, result.error
    said = " ".join(result.error.split())
    assert "1 loaded, reshaped resnet50/output/dense/kernel from [1, 1, 8, 5] to [8, 5]" in said
    settings = "mean 123.68 116.779 103.939, standard deviation 1 1 1"
    assert f"stride on the first 1x1 convolution of a stage, {settings}" in result.error
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    found = np.zeros((3, CLASSES))
    for row, entries in zip(found, rows, strict=True):
        row[[entry["class"] for entry in entries["predictions"]]] = [e["probability"] for e in entries["predictions"]]
    files = sorted((tmp_path / "images").iterdir())
    expected = probabilities("resnet50", weights, files, mean=SLIM_MEAN, std=(1, 1, 1), **SLIM)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_begins_with_slims_weights_is_built_as_they_were_trained_and_says_so(tmp_path, data_dir):
    weights = weights_of("resnet50")
    path = save_checkpoint(tmp_path / "resnet_v1_50.ckpt", slim_values(weights))
    more = ("--batch_size=4", "--num_iter=1", "--iter_unit=batch", "--lr_init=0", "--lr_warmup_epochs=0")
    flags = network(data_dir, tmp_path / "run", "train")
    result = run(*flags, *more, f"--finetune_checkpoint={path}", f"--num_classes={CLASSES}")
    assert result.status == 0, result.error
    renamed = "loaded, stored under another name resnet50/conv2d/conv2d/kernel from resnet_v1_50/conv1/weights"
    assert renamed in " ".join(result.error.split())
    trained = values(tmp_path / "run" / "model.ckpt-1")
    assert all((trained[name] == array).all() for name, array in weights.items() if "/moving_" not in name)
    description = json.loads((tmp_path / "run" / "model.ckpt-1.json").read_text())
    assert description["network"] == SLIM
    assert description["preprocessing"]["mean_rgb"] == list(SLIM_MEAN)


@pytest.mark.slow
def test_training_in_slims_folder_begins_at_step_0(tmp_path, data_dir):
    save_checkpoint(tmp_path / "resnet_v1_50.ckpt", slim_values(weights_of("resnet50")))
    more = ("--batch_size=4", "--num_iter=1", "--iter_unit=batch", "--lr_init=0", "--lr_warmup_epochs=0")
    result = run(*network(data_dir, tmp_path, "train"), *more)
    assert result.status == 0, result.error
    assert json.loads((tmp_path / "model.ckpt-1.json").read_text())["num_classes"] == CLASSES


def test_weights_that_are_no_numbers_are_named(tmp_path, data_dir):
    stored = slim_values(weights_of("resnet50"))
    stored["resnet_v1_50/block1/unit_1/bottleneck_v1/conv2/weights"][0, 0, 0, 0] = np.inf
    save_checkpoint(tmp_path / "resnet_v1_50.ckpt", stored)
    flags = ("--mode=evaluate", f"--data_dir={data_dir}", "--batch_size=4", f"--results_dir={tmp_path / 'out'}")
    result = run(*flags, f"--model_dir={tmp_path}", "--image_size=16")
    assert result.status == 1
    sentence = result.error.splitlines()[-1]
    assert "resnet_v1_50/block1/unit_1/bottleneck_v1/conv2/weights: 1 of its 144 values are not finite" in sentence


def test_a_file_of_pytorchs_is_referred_to_the_command_that_reads_it(tmp_path, data_dir):
    path = save(tmp_path / "model.pth", {"fc.bias": Tensor(np.float32([1]))})
    flags = ("--mode=evaluate", f"--data_dir={data_dir}", "--batch_size=4", f"--results_dir={tmp_path / 'out'}")
    result = run(*flags, f"--model_dir={path}")
    assert result.status == 1
    assert (
        "is no checkpoint; python -m tools.import_weights converts PyTorch weights to one"
        in result.error.splitlines()[-1]
    )


@pytest.mark.slow
def test_a_detection_checkpoint_is_evaluated_without_a_description(tmp_path):
    write_scenes(tmp_path / "data")
    size = ("--batch_size=4", "--image_size=64", f"--data_dir={tmp_path / 'data'}")
    with tiny_networks():
        trained = run("--arch=ssd320", "--mode=train", "--num_iter=1", *size, f"--results_dir={tmp_path / 'run'}")
        assert trained.status == 0, trained.error
        flags = ("--mode=evaluate", *size, f"--model_dir={tmp_path / 'run'}")
        ours = run(*flags, f"--results_dir={tmp_path / 'a'}")
        (tmp_path / "run" / "model.ckpt-2.json").unlink()
        theirs = run(*flags, f"--results_dir={tmp_path / 'b'}")
    assert theirs.status == 0, theirs.error
    assert "it is a network of TensorFlow's detection library, taken for ssd320 with 4 classes" in theirs.error
    quality = {key: value for key, value in ours.summary.items() if key.startswith(("Precision", "Recall"))}
    assert {key: theirs.summary[key] for key in quality} == quality
