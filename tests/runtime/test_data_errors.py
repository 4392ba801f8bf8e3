"""Damaged data ends a run with a sentence that names file and record, or is skipped and counted.

Errors that end a run before it starts are in ``tests/bad_input/``.
"""

import pytest
import tensorflow as tf

from runtime.data_errors import readable_data_errors
from tests.runtime.runs import at_step, network, picture, run, train, write_data, write_split
from tests.utils.input_records import record
from utils.errors import RunError
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import iterate_headers
from utils.system.shared_memory import LOST
from utils.weights.checkpoint_files import steps_in


@pytest.fixture
def data(tmp_path):
    """A data set without a manifest, so that damage is found only when it is read."""
    return write_data(tmp_path / "data", manifest=False)


FIVE_STEPS = ("--num_iter=1", "--checkpoint_every=1")
THIRD = "train-00001-of-00002"
NO_IMAGE = "the image does not decode: is not an image of a known kind"


def damage(path, number, place=20):
    """Flips a byte of one record's payload."""
    offset, _ = [*iterate_headers(path)][number]
    content = bytearray(path.read_bytes())
    content[offset + place] ^= 255
    path.write_bytes(content)


def spoil(data, **examples):
    """Rewrites the training files with other examples, given their number as a word and their record."""
    records = [record(picture(i), label=1 + i % 3) for i in range(20)]
    for name, example in examples.items():
        records[int(name.removeprefix("record_"))] = example
    return [*write_split(data, "train", records, 2)]


@pytest.mark.slow
def test_a_wrong_checksum_ends_evaluation_with_file_and_record(data, tmp_path, trained):
    damage(data / "validation-00000-of-00001", 6)
    flags = (f"--model_dir={trained}", "--batch_size=4")
    result = run(*network(data, tmp_path / "run", "evaluate"), *flags)
    assert result.status == 1
    assert f"{data}/validation-00000-of-00001, record 6: the checksum of its data is wrong" in result.error
    assert not [entry for entry in result.log if entry.get("step") == []]  # no summary of an incomplete evaluation


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "sentence"),
    [
        (record(b"\xff\xd8\xff\xe0 no image", label=1), "the image does not decode: Truncated File Read"),
        (record(b"", label=1), "the image does not decode: is empty"),
        (record(picture(0), label=0), "label 0 is outside 1..3 (--num_classes 3)"),
    ],
    ids=["noise", "empty", "label"],
)
def test_a_bad_record_ends_training_with_file_and_record(data, tmp_path, example, sentence):
    spoil(data, record_13=example)
    result = train(data, tmp_path / "run", *FIVE_STEPS, "--num_classes=3")
    assert result.status == 1
    assert f"{data}/{THIRD}, record 3: {sentence}; 1 bad record, 0 allowed (--max_bad_records)" in result.error


@pytest.mark.slow
def test_as_many_bad_records_as_allowed_are_skipped_counted_and_named(data, tmp_path):
    spoil(data, record_2=record(b"no image"), record_13=record(picture(0), label=9))
    flags = ("--num_iter=2", "--display_every=1", "--num_classes=3")
    result = train(data, tmp_path / "two", *flags, "--max_bad_records=2")
    assert result.status == 0, result.error
    named = [line for line in result.error.splitlines() if line.endswith("; skipped")]
    assert sorted(named) == [  # once each in two epochs
        f"WARNING: {data}/train-00000-of-00002, record 2: {NO_IMAGE}; skipped",
        f"WARNING: {data}/{THIRD}, record 3: label 9 is outside 1..3 (--num_classes 3); skipped",
    ]
    assert len(result.losses) == 10
    refused = train(data, tmp_path / "one", *flags, "--max_bad_records=1", "--checkpoint_every=1")
    assert refused.status == 1
    assert "2 bad records, 1 allowed (--max_bad_records)" in refused.error


@pytest.mark.slow
def test_what_was_saved_before_a_bad_record_stays(data, tmp_path):
    spoil(data, record_13=record(b"no image"))
    flags = ("--num_iter=1", "--batch_size=1", "--checkpoint_every=1", "--keep_checkpoints=99", "--num_classes=3")
    with at_step(-1, lambda: None) as seen:
        assert train(data, tmp_path / "run", *flags).status == 1
    assert seen[-1] == [13]
    assert len(seen) > 1
    assert steps_in(tmp_path / "run") == [*range(1, len(seen))]


@pytest.mark.slow
def test_bad_records_do_not_count_in_an_evaluation(data, tmp_path, trained):
    records = [record(picture(i, "validation"), label=1 + i % 3) for i in range(10)]
    records[4] = record(b"no image")
    [*write_split(data, "validation", records, 1)]
    flags = (f"--model_dir={trained}", "--batch_size=4", "--max_bad_records=1")
    result = run(*network(data, tmp_path / "run", "evaluate"), *flags)
    assert result.status == 0, result.error
    assert result.summary["images"] == 9
    assert f"{data}/validation-00000-of-00001, record 4: {NO_IMAGE}; skipped" in result.error


def test_full_memory_names_the_flags_that_need_less():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,112,112,64]")
    with pytest.raises(RunError, match=r"out of memory: a smaller --batch_size or --image_size needs less \(OOM when"):
        with_data_errors(error)


def test_a_record_that_is_whole_again_blames_disk_or_network(data):
    paths = tuple(str(path) for path in sorted(data.glob("train-*")))
    error = tf.errors.DataLossError(None, None, "corrupted record at 12")
    with pytest.raises(RunError, match="a record was damaged when read but is intact now"):
        with_data_errors(error, {"train": SplitFiles(paths, (10, 10))})


def test_the_end_of_another_process_within_a_graph_is_one_sentence():
    def exchange():
        raise RunError(LOST)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        mean = tf.numpy_function(exchange, [], tf.float32)
        with (
            pytest.raises(RunError, match=f"^{LOST}; after step 3$"),
            readable_data_errors({}, lambda: "after step 3"),
        ):
            session.run(mean)


def test_other_errors_pass():
    with pytest.raises(tf.errors.InvalidArgumentError):
        with_data_errors(tf.errors.InvalidArgumentError(None, None, "other"))


def with_data_errors(error, splits=None):
    with readable_data_errors(splits or {}, lambda: "after step 3"):
        raise error
