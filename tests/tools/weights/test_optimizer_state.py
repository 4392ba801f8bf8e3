"""The state of optimizers to and from timm's training checkpoints: a training goes on as it would have there."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.checkpoint_names import torch_sources
from tests.runtime.runs import train, values
from tests.tools.weights import torch_files
from tests.tools.weights.optimizer_side import DECAY, RATE, gradient
from tests.tools.weights.published_checkpoints import convert, torch_state, weights_of
from tools import import_weights
from tools.weights.conversion import our_array
from tools.weights.torch_file import TorchFile
from tools.weights.torch_writing import write_torch
from utils.optimizer_config import OptimizerConfig
from utils.optimizer_table import OPTIMIZERS, STATE_PATTERN
from utils.optimizers import Descent, LossScale, WeightDecay, build_update, settings_of
from utils.weights.checkpoint_files import read_metadata

tf1 = tf.compat.v1
SCRIPT = Path(__file__).parent / "optimizer_side.py"
OF_TIMM = {name: name for name in ("momentum", "adam", "adamw", "lamb", "lars")}
OF_TIMM |= {"nesterov": "sgd", "rmsprop": "rmsproptf"}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tiny network of timm, imported."""
    folder = tmp_path_factory.mktemp("published")
    state = {name: torch_files.Tensor(array) for name, array in torch_state(weights_of("resnet18")).items()}
    torch_files.save(folder / "w.pth", {"state_dict": state})
    assert convert(folder / "w.pth", folder / "imported", "--arch=resnet18") == 0
    return folder / "imported"


def tuned(data, results, published, name, *more):
    flags = (f"--optimizer={name}", "--num_iter=2", "--iter_unit=batch", "--lr_init=0.1", "--no_bias_decay", *more)
    result = train(data, results, "--arch=resnet18", f"--finetune_checkpoint={published}", *flags)
    assert result.status == 0, result.error
    return results / "model.ckpt-2"


@pytest.mark.parametrize("name", ["adamw", "lamb", "momentum", "rmsprop"])
def test_weights_and_slots_come_back_from_timms_checkpoint_bit_for_bit(name, data_dir, published, tmp_path, capsys):
    before = values(tuned(data_dir, tmp_path / "run", published, name))
    assert convert(tmp_path / "run", tmp_path / "timm", "--to=timm") == 0
    assert f"with the state of {name} in timm's groups of parameters\n" in capsys.readouterr().out
    file = tmp_path / "timm" / "last.pth.tar"
    order = [key for key in TorchFile(file).content["state_dict"] if key.startswith("layer2.0") and "weight" in key]
    assert [key.split(".")[2] for key in order] == [*("conv1", "bn1", "conv2", "bn2"), "downsample", "downsample"]
    assert convert(file, tmp_path / "back", "--arch=resnet18", "--optimizer_state") == 0
    shown = capsys.readouterr().out
    step = 0 if name == "momentum" else 2  # SGD does not count its steps
    assert f"go on after step {step} with --optimizer={name} --momentum=0.9 --weight_decay=0.0001" in shown
    after = values(tmp_path / "back" / f"model.ckpt-{step}")
    assert set(after) == set(before)
    assert after.pop("global_step") == step
    for power in OPTIMIZERS[name].state:  # rounded once, not after each step
        assert after.pop(power) == pytest.approx(before[power], rel=1e-6)
    assert [key for key, value in after.items() if not np.array_equal(value, before[key])] == []
    metadata = read_metadata(tmp_path / "back" / f"model.ckpt-{step}")
    assert metadata["optimizer"] == name
    if name == "adamw":
        resumed = train(data_dir, tmp_path / "back", "--arch=resnet18", f"--optimizer={name}", "--num_iter=3",
                        "--iter_unit=batch", "--no_bias_decay", "--num_classes=3")  # fmt: skip
        assert resumed.status == 0, resumed.error
        assert values(tmp_path / "back" / "model.ckpt-3")["beta1_power"] == pytest.approx(0.9**4)


def test_only_raw_weights_of_timms_kind_take_an_optimizer_along(data_dir, published, trained, tmp_path, capsys):
    tuned(data_dir, tmp_path / "run", published, "momentum", "--ema_decay=0.5")
    assert convert(tmp_path / "run", tmp_path / "averages", "--to=timm") == 0
    assert "weights alone, without an optimizer: they are averages" in capsys.readouterr().out
    assert "optimizer" not in TorchFile(tmp_path / "averages" / "last.pth.tar").content
    assert convert(trained, tmp_path / "own", "--to=timm") == 2
    assert "only weights that began as timm's or torchvision's can go back" in capsys.readouterr().err
    assert convert(tmp_path / "run", tmp_path / "x", "--optimizer_state") == 2
    assert "--optimizer_state: only for training checkpoints of PyTorch, without --to" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def state_with(tmp_path, change, tensors=None):
    """A training checkpoint of the tiny network with AdamW, its options changed."""
    state = torch_state(weights_of("resnet18"))
    named = {name: array for name, array in state.items() if "running" not in name}
    one = torch_files.Tensor
    states = {
        number: {"step": one(np.float32(3)), "exp_avg": one(array), "exp_avg_sq": one(array**2), **(tensors or {})}
        for number, array in enumerate(named.values())
    }
    group = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": False, "maximize": False}
    group |= {"differentiable": False, "decoupled_weight_decay": True, "params": list(range(len(named))), **change}
    content = {"state_dict": {name: one(array) for name, array in state.items()}}
    content["optimizer"] = {"state": states, "param_groups": [group]}
    return torch_files.save(tmp_path / "last.pth", content)


def test_a_single_group_and_other_numbers_are_read(tmp_path, capsys):
    assert convert(state_with(tmp_path, {}), tmp_path / "out", "--arch=resnet18", "--optimizer_state") == 0
    assert (
        "go on after step 3 with --optimizer=adamw --momentum=0.9 --weight_decay=0.1 --beta2=0.99 --epsilon=1e-06"
        in (capsys.readouterr().out)
    )
    stored = values(tmp_path / "out" / "model.ckpt-3")
    weights = weights_of("resnet18")
    np.testing.assert_array_equal(
        stored["resnet18/conv2d/conv2d/kernel/AdamW"], weights["resnet18/conv2d/conv2d/kernel"]
    )
    assert stored["beta2_power"] == pytest.approx(0.99**4)
    assert read_metadata(tmp_path / "out" / "model.ckpt-3")["tuning"] == {"beta2": 0.99, "epsilon": 1e-6}


@pytest.mark.parametrize(
    ("change", "tensors", "message"),
    [
        ({"amsgrad": True}, None, "adam here does not have its amsgrad, True"),
        ({"params": [0, 1]}, None, "its 1 groups have 2 parameters, which are not timm's groups of "),
        ({"trust_coeff": 1}, {"exp_avg": None}, "taken for conv1.weight, has a state of another shape"),
        ({}, {"step": "two"}, "it does not count its steps"),
    ],
)
def test_a_state_that_nothing_here_goes_on_with_is_a_sentence(tmp_path, capsys, change, tensors, message):
    if tensors == {"exp_avg": None}:
        tensors = {"exp_avg": torch_files.Tensor(np.zeros(3, np.float32))}
    path = state_with(tmp_path, change, tensors)
    assert convert(path, tmp_path / "out", "--arch=resnet18", "--optimizer_state") == 2
    shown = capsys.readouterr().err
    assert f"--optimizer_state: {path}: its optimizer state cannot be used: " in shown
    assert message in shown
    assert not (tmp_path / "out").exists()


def test_what_is_written_is_read_as_it_was(tmp_path):
    content = {"a": [1, -300, 2**40, 2.5, None, True, "é"], 7: {"b": (0.1, ()), "t": np.arange(6.0, dtype=np.float32)}}
    write_torch(tmp_path / "w.pth", content)
    file = TorchFile(tmp_path / "w.pth")
    assert file.content["a"] == content["a"]
    assert file.content[7]["b"] == content[7]["b"]
    np.testing.assert_array_equal(file.read(file.content[7]["t"]), content[7]["t"])


def next_step(name, prefix):
    """Our trainable variables after one more step from a checkpoint, with the gradients of the other side."""
    stored, sources = values(prefix), torch_sources("resnet18", ())
    trained = [key for key in stored if key in sources and "moving_" not in key]
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
        variables = [tf1.get_variable(key, initializer=stored[key], use_resource=True) for key in trained]
        slopes = []
        for key in trained:
            theirs = stored[key].T.shape if stored[key].ndim != 4 else stored[key].transpose(3, 2, 0, 1).shape
            slopes.append(our_array(gradient(sources[key], 2, theirs), stored[key].shape, torch=True))
        loss = tf.add_n([tf.reduce_sum(v * slope) for v, slope in zip(variables, slopes, strict=True)])
        decay = WeightDecay(variables, DECAY, biases=False)
        settings = settings_of(OptimizerConfig(name=name), decay)
        descent = Descent(tf.constant(RATE), OPTIMIZERS[name], settings)
        update = build_update(loss, step, descent, loss_scale=LossScale(None), decay=decay)
        everything = tf1.global_variables()
        assert {v.op.name for v in everything if STATE_PATTERN.search(v.op.name)} <= set(stored)
        tf1.train.Saver(everything).restore(session, str(prefix))
        session.run(update.operation)
        return {sources[v.op.name]: session.run(v) for v in variables}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_TIMM)
def test_the_next_step_is_torchs_here_and_there(name, oracle, tmp_path, capsys):
    subprocess.run([oracle, SCRIPT, "make", OF_TIMM[name], tmp_path], check=True, timeout=600)
    file = tmp_path / "last.pth.tar"
    assert import_weights.main([str(file), str(tmp_path / "here"), "--optimizer_state"]) == 0
    (prefix,) = (path.with_suffix("") for path in (tmp_path / "here").glob("*.index"))
    assert json.loads(prefix.with_suffix(prefix.suffix + ".json").read_text())["optimizer"] == name
    assert import_weights.main([str(tmp_path / "here"), str(tmp_path / "there"), "--to=timm"]) == 0
    assert f"with the state of {name}" in capsys.readouterr().out
    written = tmp_path / "there" / "last.pth.tar"
    subprocess.run([oracle, SCRIPT, "resume", OF_TIMM[name], tmp_path, written], check=True, timeout=600)
    ours = next_step(name, prefix)
    with np.load(tmp_path / "make.npz") as expected, np.load(tmp_path / "resume.npz") as resumed:
        assert set(expected.files) == set(ours)
        for key in expected.files:
            np.testing.assert_array_equal(resumed[key], expected[key], err_msg=key)
            found = our_array(expected[key], ours[key].shape, torch=True)
            np.testing.assert_allclose(ours[key], found, rtol=1e-6, atol=1e-6, err_msg=key)
    for path in (file, written, *tmp_path.glob("*.npz"), *prefix.parent.glob("*.data*")):
        path.unlink()  # pytest keeps its folders, and these are large
