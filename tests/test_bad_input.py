"""Bad input ends a launch with a sentence on what, where and which flag, the right status, and nothing lost."""

import errno
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.runtime.runs import CLASSES, Run, network, picture, run, train, values, write_data, write_split
from tests.utils.input_records import record
from utils.errors import UsageError
from utils.manifest import Manifest, ShardFile, Split, write_manifest
from utils.tfrecord_file import iterate_headers

FAILED, USAGE = 1, 2
FIRST_SHARD = "train-00000-of-00002"


@pytest.fixture
def data(tmp_path) -> Path:
    """A data set of this test's own, to be damaged."""
    return write_data(tmp_path / "data")


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder with a sound data set ``data`` and the results ``trained`` of five steps on it."""
    folder = tmp_path_factory.mktemp("sound")
    finished = train(write_data(folder / "data"), folder / "trained", "--num_iter=1")
    assert finished.status == 0, finished.error
    return folder


@pytest.fixture
def trained(sound, tmp_path) -> Path:
    """A copy of the trained results, to be damaged or continued."""
    return Path(shutil.copytree(sound / "trained", tmp_path / "trained"))


def launch(*arguments) -> Run:
    """A launch, or what main.py makes of a command line that says nothing sensible."""
    try:
        return run(*arguments)
    except UsageError as error:
        return Run(USAGE, [], "", str(error))


def train_on(data, results, *more) -> Run:
    return launch(*network(data, results, "train"), "--batch_size=4", "--lr_warmup_epochs=0", "--seed=3", *more)


def assert_ends(result: Run, status: int, *words) -> None:
    """One sentence on standard error, last, that holds all words, and no traceback."""
    assert result.status == status, result.error
    sentence = result.error.splitlines()[-1]
    for word in words:
        assert str(word) in sentence
    assert "Traceback" not in result.error + result.output


def write_examples(folder: Path, split: str, examples: list[bytes], classes=CLASSES) -> Path:
    """A data set with a manifest and one split in one file."""
    folder.mkdir()
    shards = tuple(write_split(folder, split, examples, 1))
    manifest = Manifest(
        class_names=classes, class_count=len(classes), head_size=len(classes), splits={split: Split(shards=shards)}
    )
    write_manifest(folder, manifest)
    return folder


# the data folder


def test_a_missing_data_folder(tmp_path):
    assert_ends(train_on(tmp_path / "nowhere", tmp_path / "r"), FAILED, f"--data_dir {tmp_path / 'nowhere'}")


def test_an_empty_data_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert_ends(train_on(tmp_path / "empty", tmp_path / "r"), FAILED, f"--data_dir {tmp_path / 'empty'}", "train-*")


def test_names_of_shards_that_match_nothing(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "part-00000.tfrecord").write_bytes(b"")
    result = train_on(tmp_path / "other", tmp_path / "r")
    assert_ends(result, FAILED, f"--data_dir {tmp_path / 'other'}", "train-*", "part-00000.tfrecord")


def test_a_listed_shard_that_is_not_there(data, tmp_path):
    (data / FIRST_SHARD).unlink()
    assert_ends(train_on(data, tmp_path / "r"), FAILED, data / FIRST_SHARD, "is missing", "--data_dir")


# records


@pytest.mark.parametrize("manifest", [True, False])
def test_a_truncated_shard_is_noticed_before_training(tmp_path, manifest):
    data = write_data(tmp_path / "data", manifest=manifest)
    shard = data / FIRST_SHARD
    shard.write_bytes(shard.read_bytes()[:-30])
    result = train_on(data, tmp_path / "r")
    assert_ends(result, FAILED, shard, "--data_dir" if manifest else "record 9")
    assert not list((tmp_path / "r").glob("model.ckpt*"))


def damage(shard: Path, number: int) -> None:
    """Changes one byte in the payload of a record."""
    offset, length = list(iterate_headers(shard))[number]
    content = bytearray(shard.read_bytes())
    content[offset + length // 2] ^= 255
    shard.write_bytes(content)


@pytest.mark.parametrize("allowed", [0, 5])
def test_a_record_with_a_bad_checksum_ends_the_run_however_many_bad_records_are_allowed(data, tmp_path, allowed):
    damage(data / FIRST_SHARD, 7)
    result = train_on(data, tmp_path / "r", f"--max_bad_records={allowed}")
    assert_ends(result, FAILED, f"{data / FIRST_SHARD}, record 7: the checksum of its data is wrong", "--data_dir")


def test_a_bad_checksum_in_the_validation_data_names_its_file(sound, data, tmp_path):
    shard = data / "validation-00000-of-00001"
    damage(shard, 2)
    result = launch(*network(data, tmp_path, "evaluate"), f"--model_dir={sound / 'trained'}", "--batch_size=4")
    assert_ends(result, FAILED, f"{shard}, record 2: the checksum of its data is wrong")


@pytest.fixture
def with_bad_image(tmp_path) -> Path:
    """Eight examples, of which number 5 holds half an image."""
    examples = [record(picture(i), label=1 + i % 3) for i in range(8)]
    examples[5] = record(picture(5)[:300], label=3)
    return write_examples(tmp_path / "bad_image", "train", examples)


def test_an_image_that_does_not_decode_ends_the_run_where_none_is_allowed(with_bad_image, tmp_path):
    result = train_on(with_bad_image, tmp_path / "r")
    where = f"{with_bad_image / 'train-00000-of-00001'}, record 5"
    assert_ends(result, FAILED, f"{where}: the image does not decode", "1 bad record, 0 allowed (--max_bad_records)")


def test_an_image_that_does_not_decode_is_reported_once_where_one_is_allowed(with_bad_image, tmp_path):
    result = train_on(with_bad_image, tmp_path / "r", "--max_bad_records=1", "--num_iter=3", "--display_every=1")
    assert result.status == 0, result.error
    where = f"{with_bad_image / 'train-00000-of-00001'}, record 5"
    assert result.error.count(f"{where}: the image does not decode; skipped") == 1
    assert [step for step, _ in result.losses] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("label", [0, 4])
def test_a_label_out_of_range_names_record_label_and_range(tmp_path, label):
    examples = [record(picture(i), label=1 + i % 3) for i in range(8)]
    examples[2] = record(picture(2), label=label)
    data = write_examples(tmp_path / "data", "train", examples)
    result = train_on(data, tmp_path / "r")
    where = f"{data / 'train-00000-of-00001'}, record 2"
    assert_ends(result, FAILED, f"{where}: label {label} is outside 1..3 (--num_classes 3)", "--max_bad_records")


def test_a_batch_larger_than_the_data(data, tmp_path):
    result = train_on(data, tmp_path / "r", "--batch_size=21")
    assert_ends(result, USAGE, "--batch_size 21", "20 training examples", data)


# the results folder and the disk


@pytest.mark.parametrize("mode", ["train", "evaluate", "training_benchmark"])
def test_a_results_folder_that_cannot_be_made(sound, tmp_path, mode):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    more = [f"--model_dir={sound / 'trained'}"] if mode == "evaluate" else []
    iterations = ("--num_iter=4", "--iter_unit=batch", "--warmup_steps=1")
    result = launch(
        *network(sound / "data", blocked / "results", mode), "--batch_size=4", "--seed=3", *iterations, *more
    )
    assert_ends(result, USAGE, f"--results_dir {blocked / 'results'}: cannot be written to")
    assert blocked.read_text() == "not a folder"


@pytest.mark.slow
def test_a_disk_that_is_full_while_saving_leaves_the_earlier_checkpoints(sound, trained, monkeypatch):
    before = values(trained / "model.ckpt-5")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("utils.checkpoints.flush_to_disk", full)
    result = train_on(sound / "data", trained, "--num_iter=2")
    assert_ends(result, FAILED, "step 10", str(trained), "--model_dir", "No space left on device", "are whole")
    monkeypatch.undo()
    assert sorted(path.name for path in trained.glob("model.ckpt*.index")) == ["model.ckpt-5.index"]
    after = values(trained / "model.ckpt-5")
    assert all((before[name] == after[name]).all() for name in before)
    assert train_on(sound / "data", trained, "--num_iter=2").status == 0


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_ends_the_program_with_a_sentence(sound, tmp_path):
    results = tmp_path / "results"
    command = [sys.executable, "main.py", *network(sound / "data", results, "train"), "--batch_size=4"]
    command += ["--image_size=32", "--num_iter=1", "--iter_unit=batch", "--lr_warmup_epochs=0"]
    limit = 10 * 2**20  # the log and the events fit, the weights of a ResNet-50 do not
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ended.returncode == FAILED, ended.stderr
    sentence = next(line for line in ended.stderr.splitlines() if line.startswith("CRITICAL"))
    assert f"step 1: the checkpoint could not be written to {results}" in sentence
    assert "Traceback" not in ended.stderr
    assert not list(results.glob("*.index"))


# checkpoints


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_no_checkpoint_is_an_error_and_never_random_weights(sound, tmp_path, mode):
    data = [f"--data_dir={sound / 'data'}", "--batch_size=4"] if mode == "evaluate" else ["--to_predict=x.png"]
    (tmp_path / "none").mkdir()
    result = launch(f"--mode={mode}", *data, f"--results_dir={tmp_path}", f"--model_dir={tmp_path / 'none'}")
    assert_ends(result, FAILED, f"--model_dir {tmp_path / 'none'}: holds no checkpoint", f"--mode {mode}")


def test_a_checkpoint_prefix_that_does_not_exist(sound, tmp_path):
    prefix = sound / "trained" / "model.ckpt-4"
    result = launch(*network(sound / "data", tmp_path, "evaluate"), "--batch_size=4", f"--model_dir={prefix}")
    assert_ends(result, USAGE, f"{prefix}: no such checkpoint (--model_dir, --finetune_checkpoint)")


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
    assert_ends(result, FAILED, trained / "model.ckpt-5", "--arch", "resnet50")


def test_a_class_count_that_differs_from_the_checkpoint_s(sound, tmp_path):
    flags = network(sound / "data", tmp_path, "evaluate")
    result = launch(*flags, "--batch_size=4", f"--model_dir={sound / 'trained'}", "--num_classes=7")
    assert_ends(result, USAGE, "--num_classes 7", "the checkpoint has 3 classes")


def test_data_that_counts_its_labels_from_elsewhere(sound, tmp_path):
    data = write_data(tmp_path / "data", manifest=False)
    shards = {"validation": Split(shards=(ShardFile(file="validation-00000-of-00001", examples=10),))}
    write_manifest(data, Manifest(class_names=CLASSES, class_count=3, head_size=3, label_offset=0, splits=shards))
    result = launch(*network(data, tmp_path, "evaluate"), "--batch_size=4", f"--model_dir={sound / 'trained'}")
    assert_ends(result, USAGE, "--data_dir", "labels from 0, the checkpoint from 1")


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
    assert_ends(result, FAILED, trained / "model.ckpt-5.json", "is not readable JSON")


# numbers


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_good_checkpoint(sound, trained):
    before = values(trained / "model.ckpt-5")
    result = train_on(sound / "data", trained, "--num_iter=3", "--lr_init=1e20", "--checkpoint_every=1")
    assert result.status == FAILED
    sentence = result.error.splitlines()[-1]
    step, scalar = re.search(r"step (\d+): (\w+) is (?:nan|inf)", sentence).groups()
    assert scalar in ("cross_entropy", "l2_loss", "total_loss")
    assert 5 < int(step) <= 15
    assert "earlier checkpoints are whole" in sentence
    assert "--lr_init" in sentence
    for prefix in trained.glob("model.ckpt-*.index"):
        assert int(prefix.stem.rpartition("-")[2]) < int(step)
        assert all(abs(value).max() < float("inf") for value in values(prefix.with_suffix("")).values() if value.size)
    after = values(trained / "model.ckpt-5")
    assert all((before[name] == after[name]).all() for name in before)


# flags


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--num_iter=0"], ["--num_iter 0"]),
        (["--num_iter=-3"], ["--num_iter -3"]),
        (["--batch_size=0"], ["--batch_size 0"]),
        (["--static_loss_scale=128"], ["--static_loss_scale 128", "--amp"]),
        (["--use_static_loss_scaling"], ["--amp"]),
        (["--data_idx_dir=x"], ["--data_idx_dir", "--dali"]),
        (["--mode=train_and_evaluate", "--early_stop_patience=2"], ["--early_stop_patience 2", "--eval_every_epochs"]),
        (["--to_predict=x.png"], ["--to_predict x.png", "--mode predict"]),
        (["--cpu", "--gpu_id=0"], ["--cpu", "--gpu_id"]),
        (["--quantize"], ["--quantize"]),
        (["--arch=vgg"], ["vgg", "resnet50"]),
        (["--batch_sice=4"], ["--batch_sice"]),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_anything_is_written(sound, tmp_path, flags, words):
    assert_ends(train_on(sound / "data", tmp_path / "r", *flags), USAGE, *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
def test_a_benchmark_with_nothing_left_to_measure(tmp_path, mode):
    iterations = ("--num_iter=5", "--warmup_steps=5", "--iter_unit=batch")
    result = launch(f"--mode={mode}", "--batch_size=4", f"--results_dir={tmp_path}", *iterations)
    assert_ends(result, USAGE, "--num_iter", "--warmup_steps 5")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_mode_that_needs_data_says_so(tmp_path, mode):
    assert_ends(
        launch(f"--mode={mode}", "--batch_size=4", f"--results_dir={tmp_path}"), USAGE, f"--mode {mode}", "--data_dir"
    )


def test_the_program_prints_one_sentence_for_a_wrong_flag_and_ends_with_status_2(tmp_path):
    command = [sys.executable, "main.py", "--mode=train", "--batch_size=4", "--num_iter=0", "--data_dir=x"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == USAGE
    assert ended.stdout == ""
    assert re.fullmatch(r"main\.py: error: --num_iter 0.*\n", ended.stderr)
