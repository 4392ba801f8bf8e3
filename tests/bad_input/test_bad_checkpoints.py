"""Missing or damaged weights, and those of another network or data set, end a launch with one sentence."""

import json

import numpy as np
import pytest

from tests.bad_input.launching import FAILED, USAGE, assert_ends, launch, train_on, write_examples
from tests.runtime.runs import CLASSES, network, picture, values, write_data
from tests.tools.weights.published_checkpoints import save_checkpoint
from tests.utils.checkpoints.weights import without_checksums
from tests.utils.input_records import record
from utils.records.manifest import Manifest, ShardFile, Split, write_manifest


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_no_checkpoint_is_an_error_and_never_random_weights(sound, tmp_path, mode):
    data = [f"--data_dir={sound / 'data'}", "--batch_size=4"] if mode == "evaluate" else ["--to_predict=x.png"]
    (tmp_path / "none").mkdir()
    result = launch(f"--mode={mode}", *data, f"--results_dir={tmp_path}", f"--model_dir={tmp_path / 'none'}")
    assert_ends(result, FAILED, f"--model_dir {tmp_path / 'none'}: holds no checkpoint", f"--mode {mode}")


def test_a_checkpoint_prefix_that_does_not_exist(sound, tmp_path):
    prefix = sound / "trained" / "model.ckpt-4"
    result = launch(*network(sound / "data", tmp_path, "evaluate"), "--batch_size=4", f"--model_dir={prefix}")
    assert_ends(result, FAILED, f"{prefix}: no such checkpoint", "(--model_dir, --finetune_checkpoint)")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_checkpoint_of_another_architecture_is_refused_with_both_names(sound, trained, tmp_path, mode):
    before = sorted(path.name for path in trained.glob("model.ckpt*"))
    flags = network(sound / "data", tmp_path / "r", mode, arch="se-resnext101-32x4d")
    result = launch(*flags, "--batch_size=4", f"--model_dir={trained}")
    assert_ends(result, USAGE, "--arch se-resnext101-32x4d", "the checkpoint holds resnet50")
    assert sorted(path.name for path in trained.glob("model.ckpt*")) == before


def test_a_checkpoint_of_another_architecture_without_its_description(sound, trained, tmp_path):
    (trained / "model.ckpt-5.json").unlink()
    flags = network(sound / "data", tmp_path / "r", "evaluate", arch="se-resnext101-32x4d")
    result = launch(*flags, "--batch_size=4", f"--model_dir={trained}")
    assert_ends(result, USAGE, "--arch se-resnext101-32x4d", "the checkpoint holds resnet50")


def test_a_class_count_that_differs_from_the_checkpoint_s(sound, tmp_path):
    flags = network(sound / "data", tmp_path, "evaluate")
    result = launch(*flags, "--batch_size=4", f"--model_dir={sound / 'trained'}", "--num_classes=7")
    assert_ends(result, USAGE, "--num_classes 7", "the checkpoint has 3 classes")


def test_data_that_counts_its_labels_from_elsewhere(sound, tmp_path):
    data = write_data(tmp_path / "data", manifest=False)
    shards = {"validation": Split(shards=(ShardFile(file="validation-00000-of-00001", examples=10),))}
    write_manifest(data, Manifest(class_names=CLASSES, class_count=3, head_size=3, label_offset=0, splits=shards))
    result = launch(*network(data, tmp_path, "evaluate"), "--batch_size=4", f"--model_dir={sound / 'trained'}")
    assert_ends(result, USAGE, "--data_dir", "labels start at 0 in the data, but at 1 in the checkpoint")


def test_more_classes_in_the_data_than_in_the_checkpoint(sound, tmp_path):
    examples = [record(picture(i), label=1 + i % 4) for i in range(8)]
    data = write_examples(tmp_path / "data", "validation", examples, (*CLASSES, "star"))
    result = launch(*network(data, tmp_path / "r", "evaluate"), "--batch_size=4", f"--model_dir={sound / 'trained'}")
    assert_ends(result, USAGE, "--data_dir", "4 classes", "the checkpoint's 3 classes")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_checkpoint_whose_weights_were_cut_off(sound, trained, tmp_path, mode):
    weights = trained / "model.ckpt-5.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[:-400])
    more = ["--num_iter=2"] if mode == "train" else []
    flags = network(sound / "data", tmp_path / "r", mode)
    result = launch(*flags, "--batch_size=4", f"--model_dir={trained}", "--seed=3", *more)
    assert_ends(result, FAILED, f"{trained / 'model.ckpt-5'}: the checkpoint is damaged", "--model_dir")


def test_a_checkpoint_whose_description_is_damaged(sound, trained, tmp_path):
    (trained / "model.ckpt-5.json").write_text('{"architecture": "res')
    result = launch(*network(sound / "data", tmp_path, "evaluate"), "--batch_size=4", f"--model_dir={trained}")
    assert_ends(result, FAILED, trained / "model.ckpt-5.json", "is not valid JSON")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_description_that_says_what_cannot_be(sound, trained, tmp_path, mode):
    path = trained / "model.ckpt-5.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_classes": "3"}))
    result = launch(*network(sound / "data", tmp_path / "r", mode), "--batch_size=4", f"--model_dir={trained}")
    assert_ends(result, FAILED, path, "\"num_classes\" is '3', and must be a whole number")


def changed(sound, folder, name, change):
    """Writes the trained weights with one variable changed, and their description."""
    folder.mkdir()
    weights = values(sound / "trained" / "model.ckpt-5")
    weights[name] = np.ascontiguousarray(change(weights[name]))
    description = without_checksums(sound / "trained" / "model.ckpt-5.json")
    (folder / "model.ckpt-5.json").write_text(json.dumps(description))
    return save_checkpoint(folder / "model.ckpt-5", weights)


def _poisoned(kernel):
    kernel[0, 0, 0, 0] = np.nan
    return kernel


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("btlnck_block_0_0/bottleneck_2/conv2d/kernel", _poisoned, "1 of its 144 values are not finite"),
        ("conv2d/BatchNorm/moving_variance", lambda v: v - 100, "4 of its 4 values are negative; variances cannot be"),
    ],
)
def test_weights_that_relus_would_hide(sound, tmp_path, name, change, words):
    prefix = changed(sound, tmp_path / "poisoned", f"resnet50/{name}", change)
    result = launch(*network(sound / "data", tmp_path / "r", "evaluate"), "--batch_size=4", f"--model_dir={prefix}")
    assert_ends(result, FAILED, f"{prefix}: resnet50/{name}: {words}")
    (tmp_path / "0.png").write_bytes(picture(0))
    flags = (f"--to_predict={tmp_path / '0.png'}", f"--results_dir={tmp_path / 'p'}")
    assert_ends(launch("--mode=predict", f"--model_dir={prefix}", *flags), FAILED, words)
    assert not (tmp_path / "p" / "predictions.json").exists()


@pytest.mark.slow
def test_a_transposed_head_is_not_taken_for_one_of_other_classes(sound, tmp_path):
    name = "resnet50/output/dense/kernel"
    prefix = changed(sound, tmp_path / "transposed", name, np.transpose)
    result = train_on(sound / "data", tmp_path / "r", f"--finetune_checkpoint={prefix}", "--num_iter=1")
    assert_ends(result, FAILED, f"{prefix}: {name} has shape [3, 8], the network needs [8, 3]", "--finetune_checkpoint")
    assert not list((tmp_path / "r").glob("model.ckpt*"))
