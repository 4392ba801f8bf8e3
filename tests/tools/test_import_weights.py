"""Weights of other programs become checkpoints with the same outputs, and are converted back."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from model.specs import RESNETS
from tests.runtime.runs import network, picture, run, values
from tests.runtime.tiny_detector import tiny_detectors
from tests.tools.weights.published_checkpoints import (
    CLASSES,
    SIZE,
    TORCH_MEAN,
    TORCH_STD,
    convert,
    probabilities,
    save_checkpoint,
    torch_state,
    weights_of,
)
from tests.tools.weights.torch_files import Tensor, save

SE = "se-resnext101-32x4d"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


def predicted(model_dir, images, results):
    """The probabilities of each file, by class."""
    found = run(
        "--mode=predict",
        f"--model_dir={model_dir}",
        f"--to_predict={images}",
        f"--results_dir={results}",
        f"--image_size={SIZE}",
    )
    assert found.status == 0, found.error
    rows = json.loads((results / "predictions.json").read_text())
    table = np.zeros((len(rows), CLASSES))
    for row, entries in zip(table, rows, strict=True):
        for entry in entries["predictions"]:
            row[entry["class"]] = entry["probability"]
    return table, rows, found


def torch_file(path, weights):
    state = torch_state(weights)
    state["bn1.num_batches_tracked"] = np.int64(9)
    if path.suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path)
    else:
        save(path, {"state_dict": {f"module.{name}": Tensor(array) for name, array in state.items()}, "epoch": 3})
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "name"),
    [("resnet50", "model.safetensors"), ("resnet18", "model.pth"), (SE, "model.safetensors"), (SE, "a.bin")],
)
def test_weights_of_timm_predict_what_numpy_computes_with_pytorchs_padding(
    tmp_path, images, capsys, architecture, name
):
    weights = weights_of(architecture)
    names = tmp_path / "names.txt"
    names.write_text("".join(f"n{number}\tkind {number}\n" for number in range(CLASSES)))
    source = torch_file(tmp_path / name, weights)
    assert convert(source, tmp_path / "out", f"--arch={architecture}", f"--class_names={names}") == 0
    printed = capsys.readouterr().out
    assert f"{len(weights)}  loaded, stored under another name" in printed.replace("loaded, reshaped", "") or (
        architecture == SE and "loaded, reshaped" in printed
    )
    assert "1  not used, batch-norm counters" in printed
    assert "symmetric padding, epsilon 1e-05" in printed
    found, rows, _ = predicted(tmp_path / "out", images, tmp_path / "results")
    expected = probabilities(
        architecture, weights, sorted(images.iterdir()), mean=TORCH_MEAN, std=TORCH_STD,
        padding="symmetric", epsilon=1e-5, strided=None,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-5)
    usual = probabilities(
        architecture, weights, sorted(images.iterdir()), mean=TORCH_MEAN, std=TORCH_STD,
        padding=None, epsilon=None, strided=None,
    )  # fmt: skip
    assert np.abs(found - usual).max() > 1e-3
    best = rows[0]["predictions"][0]
    assert best["name"] == f"kind {best['class']}"


def test_the_older_networks_pool_as_tensorflow_does(tmp_path, images):
    weights, state = weights_of(SE), {}
    for name, array in torch_state(weights).items():
        inner = name.replace(".se.", ".se_module.").replace("fc.", "last_linear.", name.startswith("fc."))
        state[f"layer0.{inner}" if name.startswith(("conv1.", "bn1.")) else inner] = Tensor(array)
    assert convert(save(tmp_path / "se.pth", state), tmp_path / "out") == 0
    found, *_ = predicted(tmp_path / "out", images, tmp_path / "results")
    expected = probabilities(
        SE, weights, sorted(images.iterdir()), mean=TORCH_MEAN, std=TORCH_STD,
        padding="symmetric_convolutions", epsilon=1e-5, strided=None,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_network_is_found_out_where_it_is_not_named(tmp_path, capsys):
    for architecture in ("resnet18", "resnet50", "resnext101-32x4d", SE):
        source = torch_file(tmp_path / f"{architecture}.safetensors", weights_of(architecture))
        assert convert(source, tmp_path / architecture) == 0
        assert f": {architecture}\n" in capsys.readouterr().out
        description = json.loads((tmp_path / architecture / "model.ckpt-0.json").read_text())
        assert description["architecture"] == architecture
        assert description["num_classes"] == CLASSES
        assert description["preprocessing"] == {
            "mean_rgb": list(TORCH_MEAN),
            "std_rgb": list(TORCH_STD),
            "range": [0, 255],
        }


def test_mean_and_deviation_can_be_given(tmp_path, images):
    weights = weights_of("resnet50")
    source = torch_file(tmp_path / "model.safetensors", weights)
    assert convert(source, tmp_path / "out", "--mean_rgb=127.5,127.5,127.5", "--std_rgb=127.5,120,110") == 0
    found, *_ = predicted(tmp_path / "out", images, tmp_path / "results")
    expected = probabilities(
        "resnet50", weights, sorted(images.iterdir()), mean=(127.5,) * 3, std=(127.5, 120, 110),
        padding="symmetric", epsilon=1e-5, strided=None,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_training_goes_on_from_imported_weights_with_their_settings(tmp_path, data_dir):
    weights = weights_of("resnet50")
    assert convert(torch_file(tmp_path / "m.safetensors", weights), tmp_path / "out") == 0
    more = ("--batch_size=4", "--num_iter=1", "--iter_unit=batch", "--lr_init=0", "--lr_warmup_epochs=0")
    result = run(*network(data_dir, tmp_path / "out", "train"), *more)
    assert result.status == 0, result.error
    description = json.loads((tmp_path / "out" / "model.ckpt-1.json").read_text())
    assert description["network"] == {"padding": "symmetric", "epsilon": 1e-5, "strided": None}
    assert description["preprocessing"]["std_rgb"] == list(TORCH_STD)
    trained = values(tmp_path / "out" / "model.ckpt-1")
    np.testing.assert_array_equal(trained["resnet50/output/dense/kernel"], weights["resnet50/output/dense/kernel"])


def refused(capsys, status, *arguments):
    """Runs the command and returns its error message."""
    assert convert(*arguments) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def damaged(tmp_path, change, architecture="resnet50"):
    state = {name: array.copy() for name, array in torch_state(weights_of(architecture)).items()}
    change(state)
    save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def _transpose(state):
    state["fc.weight"] = state["fc.weight"].T


def _poison(state):
    state["layer1.0.bn2.running_var"][1] = np.nan


def _widen(state):
    state["layer1.0.conv2.weight"] = np.zeros((4, 7, 3, 3), np.float32)


def _count(state):
    state["fc.weight"] = state["fc.weight"].astype(np.int64)


def _extend(state):
    state["layer1.0.attn.weight"] = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_transpose, ["fc.weight has shape [8, 5], the network's [5, 8]", "seems transposed"]),
        (_poison, ["layer1.0.bn2.running_var: 1 of its 4 values are not finite"]),
        (_widen, ["layer1.0.conv2.weight has shape [4, 7, 3, 3], the network's [4, 4, 3, 3]"]),
        (_count, ["fc.weight holds int64 values"]),
        (_extend, ["has layer1.0.attn.weight, which resnet50 cannot use", "outputs would differ"]),
        (lambda state: state.pop("layer1.0.bn3.bias"), ["has no layer1.0.bn3.bias, which resnet50 needs (1 of 27"]),
        (lambda state: state.pop("fc.weight"), ["has no fc.weight, which resnet50 needs"]),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_the_tensor(tmp_path, capsys, change, words):
    sentence = refused(capsys, 1, damaged(tmp_path, change), tmp_path / "out", "--arch=resnet50")
    assert all(word in sentence for word in words), sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "held"), [("resnet50", SE), (SE, "resnet50"), ("resnext101-32x4d", SE)])
def test_another_network_is_refused_by_its_name(tmp_path, capsys, given, held):
    source = damaged(tmp_path, lambda state: None, held)
    sentence = refused(capsys, 2, source, tmp_path / "out", f"--arch={given}")
    assert f"--arch {given}: " in sentence
    assert f"its names and shapes are those of {held}" in sentence


def test_a_wider_network_is_refused_by_the_first_tensor_that_differs(tmp_path, capsys):
    def widen(state):
        for name, array in state.items():
            if name.startswith("layer") and not name.startswith("layer1.0.downsample"):
                state[name] = np.concatenate([array, array])

    source = damaged(tmp_path, widen, "resnext101-32x4d")
    sentence = refused(capsys, 2, source, tmp_path / "out", "--arch=resnext101-32x4d")
    assert "layer1.0.conv1.weight has shape [8, 4, 1, 1], the network's [4, 4, 1, 1]" in sentence
    assert f"match none of {', '.join(RESNETS)}; --arch" in refused(capsys, 2, source, tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--mean_rgb=1,2"], "--mean_rgb 1,2: must be three numbers"),
        (["--std_rgb=1,0,2"], "--std_rgb 1,0,2: must be positive"),
        (["--arch=ssd320"], f"--arch ssd320: PyTorch weights can be imported for {', '.join(RESNETS)} only"),
        (["--to=nvidia"], "--to nvidia: these weights need symmetric padding, epsilon 1e-05"),
        (["--state=ema"], "--state ema: "),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path, capsys, flags, words):
    source = torch_file(tmp_path / "m.safetensors", weights_of("resnet50"))
    assert words in refused(capsys, 2, source, tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()


def test_names_must_be_as_many_as_classes(tmp_path, capsys):
    (tmp_path / "names").write_text("a\nb\n")
    source = torch_file(tmp_path / "m.safetensors", weights_of("resnet50"))
    sentence = refused(capsys, 2, source, tmp_path / "out", f"--class_names={tmp_path / 'names'}")
    assert "has 2 names; the weights have 5 classes" in sentence


def test_a_folder_that_holds_something_is_not_written_to(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    source = torch_file(tmp_path / "m.safetensors", weights_of("resnet50"))
    assert "exists and is not an empty folder" in refused(capsys, 2, source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_a_checkpoint_goes_to_nvidias_names_and_back(tmp_path, trained, capsys):
    assert convert(trained, tmp_path / "nvidia", "--to=nvidia") == 0
    assert "written for 1001 classes and has to be changed for 3" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "nvidia").iterdir()}
    assert files == {"checkpoint", "model.ckpt-5.index", "model.ckpt-5.data-00000-of-00001"}
    before, after = values(trained / "model.ckpt-5"), values(tmp_path / "nvidia" / "model.ckpt-5")
    assert set(after) == set(before)
    assert any(name.endswith("/Momentum") for name in after)
    assert all((before[name] == after[name]).all() for name in before)
    assert convert(tmp_path / "nvidia", tmp_path / "back") == 0
    back = values(tmp_path / "back" / "model.ckpt-0")
    weights = {name for name in before if not name.endswith("/Momentum")}
    assert set(back) == weights
    assert all((before[name] == back[name]).all() for name in weights - {"global_step"})


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "count"), [("resnet_v1_50", 463), ("resnet18", 298)])
def test_a_detectors_checkpoint_is_imported_with_its_classes_and_backbone(backbone, count, tmp_path, capsys):
    from model.checkpoint_names import variables_of

    generator = np.random.default_rng(0)
    shapes = variables_of("ssd320", 4, backbone)
    small = {name: np.abs(generator.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    save_checkpoint(tmp_path / "model.ckpt", small)
    assert convert(tmp_path / "model.ckpt", tmp_path / "out") == 0
    assert f"{count}  loaded" in capsys.readouterr().out
    description = json.loads((tmp_path / "out" / "model.ckpt-0.json").read_text())
    assert (description["task"], description["architecture"], description["num_classes"]) == ("detection", "ssd320", 4)
    assert description["backbone"] == backbone
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "anchors", "name"),
    [
        ({"norm": "group"}, 6, "ClassPredictionTower/conv2d_0/GroupNorm/gamma"),
        ({"heads": {"distribution": True, "centerness": True}}, 1, "CenternessPredictor/weights"),
        ({}, 1, "BoxPredictor/weights"),
    ],
)
def test_a_detector_with_other_norm_heads_or_anchors_is_imported_as_it_is(kind, anchors, name, tmp_path, capsys):
    from model.checkpoint_names import variables_of

    generator = np.random.default_rng(0)
    with tiny_detectors():
        shapes = variables_of("ssd320", 4, **kind, anchors=anchors)
        small = {name: np.abs(generator.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
        save_checkpoint(tmp_path / "model.ckpt", small)
        assert convert(tmp_path / "model.ckpt", tmp_path / "out") == 0
        assert f"{len(shapes)}  loaded" in capsys.readouterr().out
        assert convert(tmp_path / "out", tmp_path / "again") == 0  # with a description
        capsys.readouterr()
        assert "which NVIDIA's networks do not have" in refused(
            capsys, 2, tmp_path / "out", tmp_path / "nvidia", "--to=nvidia"
        )
    assert f"WeightSharedConvolutionalBoxPredictor/{name}" in shapes
    for folder in (tmp_path / "out", tmp_path / "again"):
        stored = values(folder / "model.ckpt-0")
        assert all(np.array_equal(stored[name], value) for name, value in small.items())
        description = json.loads((folder / "model.ckpt-0.json").read_text())
        assert {key: description.get(key) for key in kind} == kind
        assert description.get("anchors", {"single": False}) == {"single": anchors == 1}


def test_a_network_that_nvidia_does_not_have_does_not_go_to_its_program(tmp_path, capsys):
    prefix = save_checkpoint(tmp_path / "model.ckpt-1", weights_of("resnet18"))
    sentence = refused(capsys, 2, prefix, tmp_path / "out", "--to=nvidia")
    assert "--to nvidia: NVIDIA's program lacks resnet18; it has resnet50, resnext101-32x4d, " in sentence
