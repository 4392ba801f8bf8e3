"""Flags, checkpoint, data and machine are resolved to one launch, or to an error message."""

import dataclasses
import json
import logging
import shutil

import pytest
import tensorflow as tf

from model.layers.choices import Choice
from runtime.setup.data import SPLITS_READ
from runtime.setup.set_up import set_up
from runtime.training.convolutions import Convolutions
from tests.runtime.processes import Pretended
from tests.runtime.runs import CLASSES, tiny_networks
from utils.cmdline_helper import parse
from utils.config import MODES
from utils.errors import RunError, UsageError
from utils.hvd_utils import SerialCommunicator
from utils.records.manifest import read_manifest, write_manifest


@pytest.fixture
def prepare(data_dir, tmp_path):
    """Sets up a launch on the tiny data set with an empty results folder."""

    def do(mode, *flags, data=data_dir):
        given = [f"--mode={mode}", f"--results_dir={tmp_path / 'results'}", *map(str, flags)]
        if mode == "predict":
            image = tmp_path / "image.png"
            image.touch()
            given.append(f"--to_predict={image}")
        else:
            given += ["--batch_size=4", f"--data_dir={data}"] if data else ["--batch_size=4"]
        if mode in ("training_benchmark", "inference_benchmark"):
            given += ["--num_iter=60", "--iter_unit=batch"]
        with tiny_networks():
            return set_up(parse(given, {}).config, SerialCommunicator())

    return do


@pytest.fixture
def another_data_set(data_dir, tmp_path):
    """A copy of the data set with another manifest."""

    def make(**changes):
        folder = tmp_path / "data"
        shutil.copytree(data_dir, folder)
        write_manifest(folder, dataclasses.replace(read_manifest(folder), **changes))
        return folder

    return make


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_without_a_checkpoint_the_data_and_the_defaults_decide(prepare):
    model = prepare("train").config.model
    assert (model.architecture, model.num_classes, model.image_size, model.label_offset) == ("resnet50", 3, 224, 1)
    assert model.class_names == CLASSES


def test_without_data_the_network_is_that_of_the_published_weights(prepare):
    model = prepare("training_benchmark", data=None).config.model
    assert (model.num_classes, model.image_size, model.class_names) == (1001, 224, None)


@pytest.mark.parametrize("mode", ["evaluate", "predict", "train", "inference_benchmark"])
def test_a_flag_that_is_not_given_takes_the_checkpoints_value(prepare, trained, mode):
    setup = prepare(mode, f"--model_dir={trained}")
    model = setup.config.model
    assert (model.architecture, model.num_classes, model.image_size, model.label_offset) == ("resnet50", 3, 16, 1)
    assert model.class_names == CLASSES
    assert setup.checkpoint == trained / "model.ckpt-5"
    assert setup.seed == 3
    assert setup.metadata["step"] == 5


def test_another_image_size_is_noted_and_honored(prepare, trained, caplog):
    setup = prepare("evaluate", f"--model_dir={trained}", "--image_size=24", "--scaled_decoding")
    assert setup.config.model.image_size == 24
    assert setup.task.data.input_options().image_size == 24
    assert setup.task.data.input_options().scaled_decoding
    assert warnings(caplog) == ["--image_size 24 is used; the checkpoint was trained at 16"]


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--arch=resnext101-32x4d", "--arch resnext101-32x4d: the checkpoint holds resnet50"),
        ("--num_classes=10", "--num_classes 10: the checkpoint has 3 classes"),
    ],
)
@pytest.mark.parametrize("mode", ["train", "evaluate", "predict"])
def test_a_flag_that_contradicts_the_checkpoint_is_refused_with_both_values(prepare, trained, mode, flag, sentence):
    with pytest.raises(UsageError, match=sentence):
        prepare(mode, f"--model_dir={trained}", flag)


def test_data_that_counts_its_labels_from_elsewhere_is_refused(prepare, trained, another_data_set):
    data = another_data_set(label_offset=0)
    with pytest.raises(UsageError, match="labels start at 0 in the data, but at 1 in the checkpoint"):
        prepare("evaluate", f"--model_dir={trained}", data=data)


def test_data_with_more_classes_than_the_checkpoint_is_refused(prepare, trained, another_data_set):
    data = another_data_set(class_names=(*CLASSES, "star"), class_count=4, head_size=4)
    with pytest.raises(UsageError, match="the data has 4 classes, more than the checkpoint's 3 classes"):
        prepare("evaluate", f"--model_dir={trained}", data=data)


def test_a_head_may_be_larger_than_the_data(prepare, another_data_set):
    data = another_data_set(head_size=8)
    assert prepare("train", data=data).config.model.num_classes == 8


def test_names_of_a_file_are_those_of_the_weights(prepare, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("n01\tround thing\nn02\tthin thing\nn03\tbox\n")
    setup = prepare("train", f"--class_names={names}")
    assert setup.config.model.class_names == ("round thing", "thin thing", "box")
    assert setup.task.metadata["class_names"] == ["round thing", "thin thing", "box"]


def test_a_file_of_too_many_names_is_refused(prepare, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    with pytest.raises(UsageError, match="--class_names: the file has 4 names; must be 3"):
        prepare("train", f"--class_names={tmp_path / 'names.txt'}")


@pytest.mark.parametrize("given", ["", "best", "model.ckpt-5", "model.ckpt-5.index"])
def test_model_dir_takes_a_folder_its_best_or_a_checkpoint(prepare, trained, given):
    folder = trained / "best" if given == "best" else trained
    assert prepare("evaluate", f"--model_dir={trained / given}").checkpoint == folder / "model.ckpt-5"


def test_training_does_not_write_into_a_prefix(prepare, trained):
    with pytest.raises(UsageError, match=r"--model_dir .*model\.ckpt-5: .* name a folder, not a checkpoint"):
        prepare("train", f"--model_dir={trained / 'model.ckpt-5'}")


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_what_needs_weights_says_where_it_looked(prepare, tmp_path, mode):
    with pytest.raises(
        RunError, match=rf"--results_dir {tmp_path}/results: no such file or folder; --mode {mode} needs"
    ):
        prepare(mode)
    with pytest.raises(RunError, match=rf"--model_dir {tmp_path}: holds no checkpoint"):
        prepare(mode, f"--model_dir={tmp_path}")
    (tmp_path / "RUN").mkdir()
    with pytest.raises(RunError, match=rf"RUM: no such file or folder; .*; did you mean {tmp_path}/RUN\?"):
        prepare(mode, f"--model_dir={tmp_path / 'RUM'}")


def test_benchmarks_may_do_without_weights(prepare, trained, tmp_path):
    assert prepare("inference_benchmark").checkpoint is None
    shutil.copytree(trained, tmp_path / "results")
    assert prepare("inference_benchmark").checkpoint == tmp_path / "results" / "model.ckpt-5"
    assert prepare("training_benchmark").checkpoint is None  # each one starts anew


def test_random_weights_are_not_exported(prepare, tmp_path):
    with pytest.raises(
        RunError, match=r"--export_dir models: cannot export random weights; .*: no such file or folder"
    ):
        prepare("inference_benchmark", "--export_dir=models")


def test_every_mode_reads_the_splits_that_it_needs(prepare, trained):
    assert set(SPLITS_READ) == set(MODES)
    read = {mode: tuple(prepare(mode, *model_of(mode, trained)).splits) for mode in MODES}
    assert read == {
        "train": ("train",),
        "train_and_evaluate": ("train", "validation"),
        "evaluate": ("validation",),
        "predict": (),
        "training_benchmark": ("train",),
        "inference_benchmark": ("validation",),
    }


def model_of(mode, trained):
    return () if mode == "training_benchmark" else (f"--model_dir={trained}",)


def test_the_seed_is_given_or_drawn(prepare):
    assert prepare("train", "--seed=11").seed == 11
    drawn = {prepare("train").seed for _ in range(5)}
    assert len(drawn) > 1
    assert all(0 <= seed < 2**31 for seed in drawn)


def test_another_seed_for_a_run_that_was_begun_is_said_to_hold(prepare, trained, caplog):
    assert prepare("train", f"--model_dir={trained}", "--seed=4").seed == 4
    assert warnings(caplog) == ["--seed 4: the run started with seed 3; from here on it uses the new one"]
    caplog.clear()
    prepare("train", f"--model_dir={trained}", "--seed=3")
    prepare("evaluate", f"--model_dir={trained}", "--seed=4")  # nothing random in it
    assert warnings(caplog) == []


def test_mixed_precision_that_the_machine_lacks_is_said_once(prepare, monkeypatch, caplog):
    monkeypatch.setattr("runtime.setup.set_up.cpu_features", lambda: frozenset({"avx2"}))
    monkeypatch.setattr("runtime.setup.set_up.uses_gpu", lambda config: False)
    assert prepare("train", "--amp").precision.name == "float32"
    (note,) = warnings(caplog)
    assert note.startswith("--amp: this machine has neither a GPU nor a CPU with bfloat16")


def test_layers_compute_in_the_type_and_layout_of_the_launch(prepare, monkeypatch):
    monkeypatch.setattr("runtime.setup.set_up.cpu_features", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr("runtime.setup.set_up.uses_gpu", lambda config: False)
    layers = prepare(
        "train", "--amp", "--data_format=NCHW", "--weight_init=fan_in", "--seed=8", "--head_init=original"
    ).task.network.layers
    assert layers.compute_dtype.name == "bfloat16"
    assert (layers.data_format, layers.weight_init, layers.seed) == ("NCHW", "fan_in", 8)
    assert layers.head_init == "original"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_layers_have_the_form_that_suits_the_device(prepare, monkeypatch, device):
    monkeypatch.setattr("runtime.setup.set_up.uses_gpu", lambda config: device == "gpu")
    assert prepare("train").task.network.layers.device == device


def test_only_a_training_on_a_cpu_in_nhwc_chooses_its_convolutions(prepare, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit=true")
    measured = Convolutions(origin="measured", chosen={"a": ("native", "native", "native")}, notes=("a note",))
    monkeypatch.setattr("runtime.setup.set_up.choose_convolutions", lambda *_: measured)
    setup = prepare("train")
    assert setup.convolutions == measured
    assert setup.task.network.layers.choices.measured == {"a": Choice()}
    for found in (prepare("inference_benchmark"), prepare("train", "--data_format=NCHW"), prepare("train", "--xla")):
        assert found.task.network.layers.choices.measured == {}
    assert found.convolutions.origin == "built-in"
    monkeypatch.setattr("runtime.setup.set_up.uses_gpu", lambda config: True)
    assert prepare("train").convolutions.origin == "TensorFlow's own"


def test_grouped_convolutions_are_tried_where_the_network_has_some(prepare, monkeypatch, caplog):
    probed = []

    def probe(data_format, dtype, options):
        probed.append((data_format, dtype.name))
        return "split"

    monkeypatch.setattr("runtime.setup.set_up.probe_grouped_convolution", probe)
    assert prepare("train").task.network.layers.grouped_convolution == "native"
    assert probed == []
    assert prepare("train", "--arch=resnext101-32x4d").task.network.layers.grouped_convolution == "split"
    assert probed == [("NHWC", "float32")]
    (note,) = warnings(caplog)
    assert note.startswith("this device has no grouped convolution")


def test_a_device_that_fails_the_first_convolution_is_a_sentence(prepare, monkeypatch):
    def probe(error):
        def failing(*arguments):
            raise error

        monkeypatch.setattr("runtime.setup.set_up.probe_grouped_convolution", failing)

    probe(tf.errors.NotFoundError(None, None, "No algorithm worked!"))
    with pytest.raises(RunError, match="a small convolution fails: cuDNN or cuBLAS does not work"):
        prepare("train", "--arch=resnext101-32x4d")
    probe(tf.errors.InternalError(None, None, "something new"))
    with pytest.raises(RunError, match="a small convolution fails: something new"):
        prepare("train", "--arch=resnext101-32x4d")


def test_tensorfloat_32_is_allowed_unless_the_flag_forbids_it(prepare):
    allowed = tf.config.experimental.tensor_float_32_execution_enabled
    prepare("train", "--no_tf32")
    assert not allowed()
    prepare("train")
    assert allowed()


def test_a_gpu_that_does_not_exist_is_refused_before_anything_is_read(prepare):
    with pytest.raises(UsageError, match="--gpu_id 63: does not exist"):
        prepare("train", "--gpu_id=63", data="nowhere")


def test_metadata_that_was_damaged_is_an_error(prepare, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "model.ckpt-5.json").write_text(json.dumps({"step": 5})[:-3])
    with pytest.raises(RunError, match=r"model\.ckpt-5\.json: is not valid JSON"):
        prepare("evaluate", f"--model_dir={tmp_path / 'run'}")


def test_a_checkpoint_without_metadata_is_taken_for_what_its_names_say(prepare, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    for path in (tmp_path / "run").rglob("*.json"):
        path.unlink()
    setup = prepare("evaluate", f"--model_dir={tmp_path / 'run'}", "--image_size=16")
    known = {"task": "classification", "architecture": "resnet50", "origin": "nvidia", "num_classes": 3}
    assert setup.metadata == known
    assert setup.config.model.num_classes == 3


@pytest.mark.parametrize(("processes", "batch"), [(1, 3), (2, 2), (4, 1)])
def test_batches_for_prediction_are_no_larger_than_the_images_of_a_process(trained, tmp_path, processes, batch):
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    flags = ["--mode=predict", f"--to_predict={tmp_path}", f"--model_dir={trained}", f"--results_dir={tmp_path / 'x'}"]
    with tiny_networks():
        setup = set_up(parse(flags, {}).config, Pretended(processes))
        small = set_up(parse([*flags, "--batch_size=1"], {}).config, Pretended(processes))
    assert setup.config.data.batch_size_per_replica == batch
    assert small.config.data.batch_size_per_replica == 1
