"""Weights in any kind of file: detection of the kind, choice of the state, and variable names."""

import json
import shutil
import struct

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from tests.tools.weights.published_checkpoints import save_checkpoint
from tests.tools.weights.torch_files import Tensor, save
from tools.weights.weights_file import LARGEST_HEADER, open_weights
from utils.errors import RunError, UsageError

tf1 = tf.compat.v1
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_safetensors_are_read_by_name_whatever_the_file_is_called(tmp_path):
    save_file({"a.weight": KERNEL, "b": np.float16([0.5])}, tmp_path / "model.safetensors")
    shutil.copy(tmp_path / "model.safetensors", tmp_path / "model")
    for name in ("model.safetensors", "model"):
        file = open_weights(tmp_path / name)
        assert file.is_torch
        assert file.shapes == {"a.weight": (2, 3), "b": (1,)}
        np.testing.assert_array_equal(file.read("a.weight"), KERNEL)


def test_bfloat16_in_safetensors_becomes_float32(tmp_path):
    raw = (np.float32([1, -2.5]).view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + raw)
    found = open_weights(tmp_path / "model.safetensors").read("a")
    np.testing.assert_array_equal(found, np.float32([1, -2.5]))
    assert found.dtype == np.float32


@pytest.mark.parametrize("kept", [4, 20, 90])
def test_cut_safetensors_are_a_sentence(tmp_path, kept):
    path = tmp_path / "model.safetensors"
    save_file({"a.weight": KERNEL}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"model\.safetensors: cannot be read as safetensors"):
        open_weights(path)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "module.model."])
def test_what_was_wrapped_around_a_network_is_no_part_of_its_names(tmp_path, prefix):
    content = {f"{prefix}conv1.weight": Tensor(KERNEL), f"{prefix}fc.bias": Tensor(np.float32([1]))}
    file = open_weights(save(tmp_path / "model.pth", content))
    assert file.shapes == {"conv1.weight": (2, 3), "fc.bias": (1,)}
    np.testing.assert_array_equal(file.read("conv1.weight"), KERNEL)


def test_of_a_training_checkpoint_the_weights_are_read_and_others_on_request(tmp_path):
    state, average = ({"a": Tensor(np.float32([value]))} for value in (1, 2))
    path = save(tmp_path / "last.pth.tar", {"epoch": 3, "state_dict_ema": average, "state_dict": state})
    file = open_weights(path)
    assert file.read("a") == 1
    assert file.note == "state_dict was read; --state reads another: state_dict_ema"
    chosen = open_weights(path, "state_dict_ema")
    assert chosen.read("a") == 2
    with pytest.raises(UsageError, match=r"--state ema: .* has no such state; it has state_dict, state_dict_ema"):
        open_weights(path, "ema")


def test_several_states_of_which_none_is_usual_have_to_be_chosen_from(tmp_path):
    path = save(tmp_path / "pair.pt", {key: {"a": Tensor(KERNEL)} for key in ("student", "teacher")})
    with pytest.raises(UsageError, match=r"holds several states: student, teacher; choose one with --state"):
        open_weights(path)
    assert open_weights(path, "teacher").shapes == {"a": (2, 3)}


def test_a_state_of_a_file_that_has_but_one_is_refused(tmp_path):
    path = save(tmp_path / "model.pth", {"a": Tensor(KERNEL)})
    save_file({"a": KERNEL}, tmp_path / "model.safetensors")
    for name in (path, tmp_path / "model.safetensors"):
        with pytest.raises(UsageError, match=r"--state ema: .* holds only one state"):
            open_weights(name, "ema")


def test_a_file_without_tensors_by_name_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match="holds no named tensors"):
        open_weights(save(tmp_path / "model.pth", {"epoch": 3}))


def test_nothing_there_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.pth").mkdir()
    kinds = r"SRC is a \.safetensors or \.pth file"
    with pytest.raises(UsageError, match=rf"empty: holds no weights; {kinds}"):
        open_weights(tmp_path / "empty")
    with pytest.raises(UsageError, match=rf"modle\.pth: no such file or folder; {kinds}.*did you mean .*/model\.pth"):
        open_weights(tmp_path / "modle.pth")


@pytest.mark.filterwarnings("ignore:.*V1.*")
@pytest.mark.parametrize("version", [tf1.train.SaverDef.V1, tf1.train.SaverDef.V2])
@pytest.mark.parametrize("named", ["folder", "prefix"])
def test_checkpoints_of_both_formats_are_read_without_a_state_file(tmp_path, version, named):
    save_checkpoint(tmp_path / "resnet_v1_50.ckpt", {"conv1/weights": KERNEL, "global_step": np.int64(7)}, version)
    one_file = (tmp_path / "resnet_v1_50.ckpt").is_file()
    assert one_file == (version == tf1.train.SaverDef.V1)
    file = open_weights(tmp_path if named == "folder" else tmp_path / "resnet_v1_50.ckpt")
    assert not file.is_torch
    assert file.path == tmp_path / "resnet_v1_50.ckpt"
    assert file.shapes == {"conv1/weights": (2, 3), "global_step": ()}
    np.testing.assert_array_equal(file.read("conv1/weights"), KERNEL)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001", ".meta"])
def test_any_file_of_a_checkpoint_stands_for_it(tmp_path, suffix):
    save_checkpoint(tmp_path / "nvidia_rn50_tf_amp", {"a": KERNEL})
    (tmp_path / "nvidia_rn50_tf_amp.meta").touch()
    assert open_weights(tmp_path / f"nvidia_rn50_tf_amp{suffix}").path == tmp_path / "nvidia_rn50_tf_amp"


def test_several_checkpoints_without_a_state_file_have_to_be_chosen_from(tmp_path):
    for name in ("one.ckpt", "two.ckpt"):
        save_checkpoint(tmp_path / name, {"a": KERNEL})
    with pytest.raises(UsageError, match=r"holds several checkpoints, one\.ckpt, two\.ckpt; name one of them"):
        open_weights(tmp_path)


@pytest.mark.filterwarnings("ignore:.*V1.*")
@pytest.mark.parametrize("version", [tf1.train.SaverDef.V1, tf1.train.SaverDef.V2])
def test_a_checkpoint_whose_values_were_cut_off_is_a_sentence(tmp_path, version):
    save_checkpoint(
        tmp_path / "model.ckpt", {"a": np.random.default_rng(0).normal(size=5000).astype(np.float32)}, version
    )
    data = next(path for path in tmp_path.iterdir() if path.suffix != ".index")
    data.write_bytes(data.read_bytes()[:10000])
    with pytest.raises((RunError, UsageError), match=r"damaged|was cut off"):
        open_weights(tmp_path / "model.ckpt").read("a")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-lfs pointer"),
        ("resnet50.pth", b"<!DOCTYPE html><html><title>404</title>", r"is a web page \(HTML\)"),
        ("model.ckpt", b"\xff\xd8\xff\xe0", "is a JPEG image"),
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file, as Keras writes"),
        ("model.safetensors", b"", "is empty"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=rf"{name}: {kind}.*; SRC is a \.safetensors or \.pth file") as told:
        open_weights(tmp_path / name)
    assert "--" not in str(told.value)


def test_what_is_called_like_a_file_of_pytorchs_and_is_none_is_not_referred_to_this_very_command(tmp_path):
    (tmp_path / "resnet50.pth").write_text('{"message": "Not Found"}')
    with pytest.raises(RunError, match=r"is neither a checkpoint of TensorFlow nor a file of PyTorch, or was cut off$"):
        open_weights(tmp_path / "resnet50.pth")


def test_what_looks_like_no_weights_at_all_is_no_checkpoint(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RunError, match=r"notes\.txt: is no checkpoint of TensorFlow, or was cut off$"):
        open_weights(tmp_path / "notes.txt")


def safetensors(path, header, size=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if size is None else size) + raw + bytes(8))
    return path


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"{}", 2**63),
        (b"{" + b" " * LARGEST_HEADER, None),
        (b'{"a":' * 5000, None),
        ({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}}, None),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]}}, None),
    ],
)
def test_an_absurd_list_of_safetensors_is_a_sentence(tmp_path, header, size):
    with pytest.raises(RunError, match="cannot be read as safetensors"):
        open_weights(safetensors(tmp_path / "model.safetensors", header, size))


@pytest.mark.parametrize(("kind", "shape"), [("F8_E4M3", [8]), ("F32", [1] * 99 + [2]), ("BF16", [2, 2])])
def test_types_and_shapes_that_numpy_lacks_are_a_sentence(tmp_path, kind, shape):
    file = open_weights(
        safetensors(tmp_path / "m.safetensors", {"a\0b": {"dtype": kind, "shape": shape, "data_offsets": [0, 8]}})
    )
    if kind == "BF16":
        assert file.read("a\0b").shape == (2, 2)
    else:
        with pytest.raises(RunError, match=r"m\.safetensors: a\\x00b cannot be read"):
            file.read("a\0b")


def test_names_of_others_reach_the_console_without_control_characters(tmp_path):
    path = save(tmp_path / "model.pth", {f"\x1b[2J{number}": {"a": Tensor(KERNEL)} for number in range(30)})
    with pytest.raises(UsageError) as told:
        open_weights(path)
    assert str(told.value).isprintable()
    assert str(told.value).count("[2J") < 10
