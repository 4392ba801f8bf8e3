"""An unusable data folder or record ends a launch with a sentence that names it."""

from pathlib import Path

import pytest

from tests.bad_input.launching import FAILED, FIRST_SHARD, USAGE, assert_ends, launch, train_on, write_examples
from tests.runtime.runs import network, picture, write_data
from tests.utils.input_records import record
from utils.records.tfrecord_file import iterate_headers

# The folder


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


# Records


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


@pytest.mark.slow
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
    """Eight examples; number 5 holds only half an image."""
    examples = [record(picture(i), label=1 + i % 3) for i in range(8)]
    examples[5] = record(picture(5)[:300], label=3)
    return write_examples(tmp_path / "bad_image", "train", examples)


def test_an_image_that_does_not_decode_ends_the_run_where_none_is_allowed(with_bad_image, tmp_path):
    result = train_on(with_bad_image, tmp_path / "r")
    where = f"{with_bad_image / 'train-00000-of-00001'}, record 5"
    assert_ends(result, FAILED, f"{where}: the image does not decode", "1 bad record, 0 allowed (--max_bad_records)")


@pytest.mark.slow
def test_an_image_that_does_not_decode_is_reported_once_where_one_is_allowed(with_bad_image, tmp_path):
    result = train_on(with_bad_image, tmp_path / "r", "--max_bad_records=1", "--num_iter=3", "--display_every=1")
    assert result.status == 0, result.error
    where = f"{with_bad_image / 'train-00000-of-00001'}, record 5"
    assert result.error.count(f"{where}: the image does not decode: ") == 1
    assert [step for step, _ in result.losses] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
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
