"""The commands that write a classifier in its other form, and the mean of checkpoints."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.runs import values
from tools import average_weights, postprocess_weights
from tools.weights.checkpoint_rewriting import write_folder
from utils.checkpoints import find_checkpoint
from utils.weights.checkpoint_files import read_metadata

KERNEL, OTHER = "resnet50/output/dense/kernel", "resnet50/conv2d/conv2d/kernel"
RNG = np.random.default_rng(0)
METADATA = {"architecture": "resnet50", "num_classes": 3, "class_names": ["a", "b", "ç"], "evaluation": {"loss": 1.0}}


def save(folder, step=7, metadata=METADATA, **changes):
    """Writes a checkpoint with random variables of all kinds as ``folder/model.ckpt-<step>``."""
    tensors = {
        KERNEL: RNG.normal(size=(8, 3)).astype(np.float32),
        "resnet50/output/dense/bias": RNG.normal(size=3).astype(np.float32),
        OTHER: RNG.normal(size=(1, 1, 3, 8)).astype(np.float32),
        "resnet50/conv2d/BatchNorm/moving_mean": RNG.normal(size=8).astype(np.float32),
        f"{KERNEL}/Momentum": RNG.normal(size=(8, 3)).astype(np.float32),
        f"{KERNEL}/ExponentialMovingAverage": RNG.normal(size=(8, 3)).astype(np.float32),
        "global_step": np.int64(step),
    }
    tensors |= {name.replace("__", "/"): value for name, value in changes.items()}
    return write_folder(folder, f"model.ckpt-{step}", tensors, metadata)


def run(command, capsys, *arguments):
    status = command.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err.removesuffix("\n")


# The other form


def test_a_matrix_becomes_a_convolution_and_a_matrix_again(tmp_path, capsys):
    prefix = save(tmp_path / "run")
    given = ("--input", prefix, "--dense_layer", KERNEL, "--output", tmp_path / "conv")
    status, out, _ = run(postprocess_weights, capsys, *given)
    assert (status, out) == (0, f"{tmp_path}/conv/new.ckpt: the kernel [8, 3] is now [1, 1, 8, 3]\n")
    before, after = values(prefix), values(tmp_path / "conv" / "new.ckpt")
    assert set(after) == set(before)
    reshaped = {name for name in before if before[name].shape != after[name].shape}
    assert reshaped == {KERNEL, f"{KERNEL}/Momentum", f"{KERNEL}/ExponentialMovingAverage"}
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        np.testing.assert_array_equal(after[name].ravel(), value.ravel())
    assert tf.train.latest_checkpoint(str(tmp_path / "conv")) == str(tmp_path / "conv" / "new.ckpt")
    assert find_checkpoint(tmp_path / "conv") == tmp_path / "conv" / "new.ckpt"
    assert read_metadata(tmp_path / "conv" / "new.ckpt") == METADATA | {"use_final_conv": True}
    names = {"checkpoint", "new.ckpt.data-00000-of-00001", "new.ckpt.index", "new.ckpt.json"}
    assert {path.name for path in (tmp_path / "conv").iterdir()} == names
    assert run(postprocess_weights, capsys, "--input", tmp_path / "conv", "--output", tmp_path / "matrix")[0] == 0
    again = values(tmp_path / "matrix" / "new.ckpt")
    assert {name: v.tobytes() for name, v in again.items()} == {name: v.tobytes() for name, v in before.items()}
    assert again[KERNEL].shape == (8, 3)
    assert read_metadata(tmp_path / "matrix" / "new.ckpt")["use_final_conv"] is False


def test_a_checkpoint_without_metadata_stays_without(tmp_path, capsys):
    save(tmp_path / "run", metadata=None)
    assert run(postprocess_weights, capsys, "--input", tmp_path / "run", "--output", tmp_path / "new")[0] == 0
    assert not (tmp_path / "new" / "new.ckpt.json").exists()


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("resnet50/output/dens/kernel", f"has no such variable; it has {KERNEL}"),
        ("nonsense", f"has no such variable; it has {KERNEL}"),
        ("resnet50/output/dense/bias", "has shape [3]; must be [C, K] or [1, 1, C, K]"),
    ],
)
def test_a_wrong_layer_is_a_sentence_that_names_near_ones(tmp_path, capsys, layer, sentence):
    prefix = save(tmp_path / "run")
    given = ("--input", prefix, "--dense_layer", layer, "--output", tmp_path / "new")
    status, _, error = run(postprocess_weights, capsys, *given)
    assert (status, error.count("\n")) == (2, 0)
    assert f"--dense_layer {layer}: " in error
    assert sentence in error
    assert not (tmp_path / "new").exists()


def test_where_no_layer_is_given_there_has_to_be_one(tmp_path, capsys):
    write_folder(tmp_path / "run", "model.ckpt-1", {"a": np.ones(2, np.float32)}, None)
    status, _, error = run(postprocess_weights, capsys, "--input", tmp_path / "run", "--output", tmp_path / "new")
    assert status == 2
    assert "--dense_layer: required, as the checkpoint has 0 variables */output/dense/kernel" in error


def test_an_output_that_is_there_is_left_alone(tmp_path, capsys):
    prefix = save(tmp_path / "run")
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "run").iterdir())
    status, _, error = run(postprocess_weights, capsys, "--input", prefix, "--output", tmp_path / "run")
    assert (status, error) == (
        2,
        f"error: --output {tmp_path}/run: already exists; name a new folder",
    )
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "run").iterdir()) == before


@pytest.mark.parametrize(
    ("name", "sentence"), [("none/model.ckpt-3", "no such file or folder"), (".", "holds no checkpoint")]
)
def test_a_checkpoint_that_is_not_there_is_a_sentence(tmp_path, capsys, name, sentence):
    status, _, error = run(postprocess_weights, capsys, "--input", tmp_path / name, "--output", tmp_path / "new")
    assert status == 1
    assert error == f"error: {tmp_path / name}: {sentence}"


# Means


@pytest.fixture
def three(tmp_path):
    """Checkpoints of the steps 5, 10 and 15, each in a separate folder."""
    return [save(tmp_path / f"run{step}", step) for step in (5, 10, 15)]


def test_the_mean_of_weights_and_statistics(tmp_path, capsys, three):
    status, out, _ = run(average_weights, capsys, *reversed(three), "--output", tmp_path / "mean")
    assert status == 0
    assert out.splitlines() == [f"{tmp_path}/mean: the mean of 3 checkpoints", *(f"  {prefix}" for prefix in three)]
    stored, found = [values(prefix) for prefix in three], values(tmp_path / "mean" / "model.ckpt-15")
    state = {f"{KERNEL}/Momentum", f"{KERNEL}/ExponentialMovingAverage"}
    assert set(found) == set(stored[0]) - state
    assert found.pop("global_step") == 15
    for name, value in found.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, np.mean([each[name] for each in stored], axis=0), rtol=1e-6)
    kept = {key: value for key, value in METADATA.items() if key != "evaluation"}
    mean_of = ["model.ckpt-5", "model.ckpt-10", "model.ckpt-15"]
    assert read_metadata(tmp_path / "mean" / "model.ckpt-15") == kept | {"mean_of": mean_of}
    assert find_checkpoint(tmp_path / "mean") == tmp_path / "mean" / "model.ckpt-15"


def test_of_a_folder_the_last_ones(tmp_path, capsys, three):
    for prefix in three[:2]:
        for path in prefix.parent.glob("model.ckpt-*"):
            path.rename(three[2].parent / path.name)
    folder = three[2].parent
    assert run(average_weights, capsys, folder, "--last", 2, "--output", tmp_path / "mean")[0] == 0
    wanted = np.mean([values(folder / f"model.ckpt-{step}")[OTHER] for step in (10, 15)], axis=0)
    np.testing.assert_allclose(values(tmp_path / "mean" / "model.ckpt-15")[OTHER], wanted, rtol=1e-6)
    status, _, error = run(average_weights, capsys, folder, "--last", 4, "--output", tmp_path / "more")
    assert (status, error) == (2, "error: --last 4: found only 3 checkpoints")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resnet50__output__dense__bias": np.ones(4, np.float32)}, "is [4], in "),
        ({"resnet50__more": np.ones(1, np.float32)}, "resnet50/more is [1], in "),
        ({"metadata": METADATA | {"architecture": "resnext101-32x4d"}}, "its architecture differs from that of "),
        ({"metadata": METADATA | {"class_names": ["b", "a", "c"]}}, "its class_names differs from that of "),
        (
            {"resnet50__output__dense__bias": np.float32([0, np.nan, 0])},
            "resnet50/output/dense/bias: 1 of its 3 values are not finite",
        ),
    ],
)
def test_what_has_no_mean_is_refused(tmp_path, capsys, changes, sentence):
    one, other = save(tmp_path / "one", 3, **changes), save(tmp_path / "other", 4)
    status, _, error = run(average_weights, capsys, one, other, "--output", tmp_path / "mean")
    assert (status, error.count("\n")) == (1, 0)
    assert f"error: {one}: " in error
    assert sentence in error
    assert not (tmp_path / "mean").exists()


def test_one_checkpoint_has_no_mean(tmp_path, capsys):
    prefix = save(tmp_path / "one")
    status, _, error = run(average_weights, capsys, prefix, tmp_path / "one", "--output", tmp_path / "mean")
    assert (status, error) == (2, f"error: {prefix}: a mean needs two checkpoints or more")


def test_a_damaged_checkpoint_is_a_sentence(tmp_path, capsys, three):
    data = three[0].with_name("model.ckpt-5.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-200])
    status, _, error = run(average_weights, capsys, *three, "--output", tmp_path / "mean")
    assert status == 1
    assert "bytes, but" in error
    assert not (tmp_path / "mean").exists()


def test_what_cannot_be_written_leaves_nothing(tmp_path, capsys, three):
    (tmp_path / "file").write_text("")
    status, _, error = run(average_weights, capsys, *three, "--output", tmp_path / "file" / "mean")
    assert status == 1
    assert error.startswith(f"error: --output {tmp_path}/file/mean: cannot be written: ")


def test_metadata_stay_readable_by_people(tmp_path, capsys, three):
    assert run(average_weights, capsys, *three, "--output", tmp_path / "mean")[0] == 0
    text = (tmp_path / "mean" / "model.ckpt-15.json").read_text(encoding="utf-8")
    assert "ç" in text
    assert json.loads(text)["mean_of"][0] == "model.ckpt-5"


@pytest.mark.parametrize("name", ["notes.txt", "model.h5", "run", "run/model.ckpt-8"])
def test_messages_name_no_flag_that_the_command_lacks(tmp_path, capsys, name):
    save(tmp_path / "run")
    index = tmp_path / "run" / "model.ckpt-7.index"
    index.write_bytes(index.read_bytes()[:-1])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    whole = save(tmp_path / "whole")
    for command, arguments in (
        (average_weights, (tmp_path / name, whole, "--output", tmp_path / "mean")),
        (postprocess_weights, ("--input", tmp_path / name, "--output", tmp_path / "conv")),
    ):
        status, _, error = run(command, capsys, *arguments)
        assert status == 1
        assert error.startswith(f"error: {tmp_path / name}")
        assert "--" not in error
        assert error.count("\n") == 0
