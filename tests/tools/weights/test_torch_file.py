"""PyTorch files are read without PyTorch, and nothing pickled in them runs."""

import argparse
import collections
import os
import pathlib
import pickle
import subprocess
import zipfile

import numpy as np
import pytest

from tests.tools.weights.torch_files import Parameter, Tensor, save, write_archive
from tools.weights.tensor_pickle import MOST_INSTRUCTIONS, TorchTensor
from tools.weights.torch_file import LARGEST_PICKLE, TorchFile, is_torch_file, states
from utils.errors import RunError

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def read_back(path):
    file = TorchFile(path)
    (found,) = states(file.content).values()
    return {name: file.read(tensor) for name, tensor in found.items()}


def test_a_state_dict_comes_back(tmp_path):
    content = collections.OrderedDict(
        a=Tensor(KERNEL), b=Parameter(np.float32([1.5])), count=Tensor(np.int64(7)), half=Tensor(np.float16([0.5, 2]))
    )
    content._metadata = {"": {"version": 1}}  # as modules leave it there
    found = read_back(save(tmp_path / "model.pth", content))
    np.testing.assert_array_equal(found["a"], KERNEL)
    assert found["b"] == np.float32([1.5])
    assert found["count"] == 7
    assert found["count"].dtype == np.int64
    np.testing.assert_array_equal(found["half"], np.float16([0.5, 2]))


def test_the_options_of_a_training_program_are_skipped_and_nothing_else_beside_the_states(tmp_path):
    options = argparse.Namespace(lr=0.1, model="resnet50")
    path = save(tmp_path / "last.pth.tar", {"epoch": 3, "args": options, "state_dict": {"a": Tensor(KERNEL)}})
    np.testing.assert_array_equal(read_back(path)["a"], KERNEL)
    worse = save(
        tmp_path / "worse.pth", {"args": argparse.Namespace(x=pathlib.PurePosixPath("/")), "a": Tensor(KERNEL)}
    )
    with pytest.raises(RunError, match=r"its pickle asks for pathlib\S*PurePosixPath"):
        TorchFile(worse)


def test_views_and_transposed_tensors_are_read_by_their_strides(tmp_path):
    whole = KERNEL.reshape(-1)
    content = {
        "part": Tensor(whole, layout=(4, (2, 3), (12, 1))),
        "transposed": Tensor(whole, layout=(0, (4, 6), (1, 4))),
        "same": Tensor(whole, layout=(3, (5,), (0,))),
        "none": Tensor(whole, layout=(24, (0, 3), (3, 1))),
    }
    found = read_back(save(tmp_path / "model.pth", content))
    np.testing.assert_array_equal(found["part"], [[4, 5, 6], [16, 17, 18]])
    np.testing.assert_array_equal(found["transposed"], whole.reshape(6, 4).T)
    np.testing.assert_array_equal(found["same"], [3] * 5)
    assert found["none"].shape == (0, 3)


def test_bfloat16_becomes_float32(tmp_path):
    values = np.float32([1, -2.5, 3.140625, np.inf])
    stored = (values.view(np.uint32) >> 16).astype(np.uint16)
    content = {"a": Tensor(stored, storage="BFloat16Storage")}
    found = read_back(save(tmp_path / "model.pth", content))
    np.testing.assert_array_equal(found["a"], values)
    assert found["a"].dtype == np.float32


def test_states_are_found_by_the_keys_of_a_training_checkpoint(tmp_path):
    state, average = {"a": Tensor(np.float32([1]))}, {"a": Tensor(np.float32([2])), "b": Tensor(np.float32([3]))}
    content = {"epoch": 5, "arch": "resnet50", "state_dict": state, "state_dict_ema": average, "metric": 1.5}
    found = states(TorchFile(save(tmp_path / "last.pth.tar", content)).content)
    assert {key: list(state) for key, state in found.items()} == {"state_dict": ["a"], "state_dict_ema": ["a", "b"]}
    assert all(isinstance(tensor, TorchTensor) for state in found.values() for tensor in state.values())


def test_a_tensor_beside_states_is_no_state(tmp_path):
    content = {"loss": Tensor(np.float32([1])), "model": {"a": Tensor(KERNEL), "b": Tensor(KERNEL)}}
    assert list(states(TorchFile(save(tmp_path / "last.pth", content)).content)) == ["model"]


class Runs:
    """Pickles to a call, which an unrestricted unpickler would execute."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, r"posix\.system"),
        (eval, r"(__builtin__|builtins)\.eval"),
        (exec, r"(__builtin__|builtins)\.exec"),
        (getattr, r"(__builtin__|builtins)\.getattr"),
        (subprocess.check_output, r"(subprocess|commands)\.check_output"),
        (pickle.loads, r"_?pickle\.loads"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_file_that_tries_to_run_code_is_refused_and_nothing_runs(tmp_path, function, name, protocol):
    touched = tmp_path / "touched"
    argument = (
        f"touch {touched}" if function in (os.system, subprocess.check_output) else f"open({str(touched)!r}, 'w')"
    )
    content = {"a": 1, "b": Runs(function, argument)}
    path = write_archive(tmp_path / "model.pth", {"data.pkl": pickle.dumps(content, protocol=protocol)})
    with pytest.raises(RunError, match=rf"asks for {name}, .*; nothing was executed"):
        TorchFile(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cposix\nsystem\n(S'touch %s'\ntR.",  # the plainest
        b"(S'touch %s'\niposix\nsystem\n.",  # INST
        b"(cposix\nsystem\nS'touch %s'\no.",  # OBJ
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c%c%s\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",  # an attribute of an allowed class
        b"\x80\x04\x8c\x05torch\x8c\x11hub.load_anything\x93.",
        b"ccollections\nOrderedDict\n(tR(dS'__class__'\ncposix\nsystem\nsb.",  # BUILD
    ],
)
def test_no_instruction_of_the_machine_reaches_a_function(tmp_path, program):
    touched = tmp_path / "touched"
    command = f"touch {touched}".encode()
    text = program.replace(b"%c%s", bytes([len(command)]) + command).replace(b"touch %s", command)
    path = write_archive(tmp_path / "model.pth", {"data.pkl": text})
    with pytest.raises(RunError, match=r"asks for |is damaged"):
        TorchFile(path)
    assert not touched.exists()


def test_a_plain_pickle_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(Runs(os.system, "false"), 2))
    with pytest.raises(
        RunError, match=r"plain pickle, as PyTorch before 1\.6 wrote; load it in PyTorch and save it again"
    ):
        is_torch_file(path)


def test_only_archives_begin_as_files_of_pytorch(tmp_path):
    (tmp_path / "text").write_text("no archive")
    assert not is_torch_file(tmp_path / "text")
    assert is_torch_file(save(tmp_path / "model.pth", {"a": Tensor(KERNEL)}))


@pytest.mark.parametrize(
    "layout",
    [
        (0, (25,), (1,)),
        (1, (24,), (1,)),
        (0, (2, 13), (12, 1)),
        (-1, (2,), (1,)),
        (23, (2,), (-1,)),
        (0, (2**40,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2**40,), (0,)),
        (0, (25,), (0,)),
        (0, (1,) * 33, (1,) * 33),
        (0, (0, 2**63), (1, 1)),
        (25, (0,), (1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, layout):
    path = save(tmp_path / "model.pth", {"a": Tensor(KERNEL.reshape(-1), layout=layout)})
    with pytest.raises(RunError, match="is damaged"):
        TorchFile(path)


@pytest.mark.parametrize("target", [b"", b"\x85", b"K\x01"])
def test_nothing_but_a_dictionary_takes_a_state(tmp_path, target):
    """An object's own method would take it: a frozen tensor would change after it was checked."""
    state = b"N}(X\x06\x00\x00\x00offsetJ\xff\xff\xff\x7fu\x86b."
    path = save(tmp_path / "model.pth", Tensor(KERNEL))
    with zipfile.ZipFile(path) as archive:
        parts = {name.removeprefix("archive/"): archive.read(name) for name in archive.namelist()}
    parts["data.pkl"] = parts["data.pkl"][:-1] + target + state
    with pytest.raises(RunError, match="it changes an object that has no state"):
        TorchFile(write_archive(path, parts))


def test_the_numbers_of_instructions_and_bytes_are_limited(tmp_path):
    path = write_archive(tmp_path / "many.pth", {"data.pkl": b"]" * (MOST_INSTRUCTIONS + 1) + b"."})
    with pytest.raises(RunError, match=f"it has more than {MOST_INSTRUCTIONS} instructions"):
        TorchFile(path)
    path = write_archive(tmp_path / "long.pth", {"data.pkl": b"." * (LARGEST_PICKLE + 1)})
    with pytest.raises(RunError, match=f"its list of tensors has more than {LARGEST_PICKLE} bytes"):
        TorchFile(path)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [((0, (1,), (2**63 - 1,)), (1,)), ((0, (0, 3), (2**62, 2**62)), (0, 3)), ((0, (0, 2**62), (1, 1)), None)],
)
def test_strides_and_sides_without_a_meaning_are_harmless(tmp_path, layout, shape):
    path = save(tmp_path / "a.pth", {"a": Tensor(np.float32([1, 2]), layout=layout)})
    if shape is None:
        with pytest.raises(RunError, match="lies outside its storage"):
            TorchFile(path)
    else:
        file = TorchFile(path)
        assert file.read(file.content["a"]).shape == shape


def test_a_state_that_is_named_very_many_times_is_walked_through_once():
    class Counted(dict):
        reads = 0

        def items(self):
            Counted.reads += 1
            return super().items()

    states(dict.fromkeys(map(str, range(50)), Counted(a=1)))
    assert Counted.reads == 1


def test_a_state_that_is_named_many_times_is_one(tmp_path):
    state = {f"{number}": Tensor(np.float32([number])) for number in range(3)}
    found = states(TorchFile(save(tmp_path / "model.pth", {f"state{number}": state for number in range(4)})).content)
    assert len(found) == 4
    assert len({id(value) for value in found.values()}) == 1


def test_values_that_are_missing_or_cut_off_are_refused(tmp_path):
    path = save(tmp_path / "model.pth", {"a": Tensor(KERNEL)}, drop=["0"])
    with pytest.raises(RunError, match="the values of a tensor cannot be read"):
        read_back(path)
    cut = save(tmp_path / "cut.pth", {"a": Tensor(KERNEL, layout=(0, (48,), (1,)))})
    with pytest.raises(RunError, match="is damaged"):
        TorchFile(cut)
    content = (tmp_path / "model.pth").read_bytes()
    (tmp_path / "model.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="is damaged"):
        TorchFile(tmp_path / "model.pth")


def test_flipped_bytes_are_found_by_the_archives_sums(tmp_path):
    path = save(tmp_path / "model.pth", {"a": Tensor(KERNEL)})
    content = path.read_bytes()
    place = content.index(KERNEL.tobytes()) + 8
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(RunError, match="the values of a tensor cannot be read"):
        read_back(path)


def test_what_is_no_file_of_pytorch_is_refused_by_what_it_lacks(tmp_path):
    other = write_archive(tmp_path / "other.zip", {"readme.txt": b"hello"})
    with pytest.raises(RunError, match=r"not a PyTorch file: it has 0 data\.pkl"):
        TorchFile(other)
    with pytest.raises(RunError, match=r"data\.pkl is compressed, which PyTorch's files never are"):
        TorchFile(save(tmp_path / "small.pth", {"a": Tensor(KERNEL)}, compressed=True))
    with pytest.raises(RunError, match="written on a big-endian machine"):
        TorchFile(save(tmp_path / "big.pth", {"a": Tensor(KERNEL)}, byteorder=b"big"))


@pytest.mark.parametrize("content", [[1, 2], 5, None, {"a": 1}, {}])
def test_what_holds_no_tensors_by_name_has_no_states(tmp_path, content):
    assert states(TorchFile(save(tmp_path / "model.pth", content)).content) == {}
