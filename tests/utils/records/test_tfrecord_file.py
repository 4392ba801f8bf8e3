import hashlib
import struct

import pytest
import tensorflow as tf

from utils.errors import RunError
from utils.records.tfrecord_file import (
    RecordWriter,
    count_records,
    find_bad_record,
    framed,
    iterate_headers,
    read_record,
)

PAYLOADS = [b"", b"a", b"hello world", bytes(range(256)) * 9]


@pytest.fixture
def records(tmp_path):
    """A file written by TensorFlow."""
    path = tmp_path / "train-00000-of-00001"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    return path


def test_records_are_what_tensorflow_writes(records, tmp_path):
    with (tmp_path / "ours").open("wb") as file:
        writer = RecordWriter(file)
        for payload in PAYLOADS:
            writer.write(payload)
    content = records.read_bytes()
    assert (tmp_path / "ours").read_bytes() == content
    assert (writer.examples, writer.bytes) == (len(PAYLOADS), len(content))
    assert writer.sha256 == hashlib.sha256(content).hexdigest()


def test_headers_give_offset_and_length_of_each_payload(records):
    data = records.read_bytes()
    assert [data[offset : offset + length] for offset, length in iterate_headers(records)] == PAYLOADS
    # 12 bytes of header, then payload and 4 bytes of checksum: 12; 12+0+16 = 28; 28+1+16 = 45; 45+11+16 = 72
    assert [offset for offset, _ in iterate_headers(records)] == [12, 28, 45, 72]


def test_counts_records(records):
    assert count_records(records) == 4


def test_an_empty_file_has_no_records(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert count_records(path) == 0
    assert find_bad_record(path) is None


def test_reads_one_record(records):
    assert [read_record(records, number) for number in range(4)] == PAYLOADS


def test_a_record_number_past_the_end_is_an_error(records):
    with pytest.raises(RunError, match="has no record 4; it holds 4, numbered from 0"):
        read_record(records, 4)


def test_a_sound_file_has_no_bad_record(records):
    assert find_bad_record(records) is None


def test_finds_a_damaged_payload(records):
    data = bytearray(records.read_bytes())
    data[45] ^= 1  # the first byte of record 2
    records.write_bytes(data)
    assert find_bad_record(records) == (2, "the checksum of its data is wrong")
    assert count_records(records) == 4  # this reads no payload


def test_finds_a_damaged_length(records):
    data = bytearray(records.read_bytes())
    data[16] ^= 1  # the length of record 1
    records.write_bytes(data)
    assert find_bad_record(records) == (1, "the checksum of its length is wrong")
    with pytest.raises(RunError, match=r"train-00000-of-00001: record 1 is broken: the checksum of its length"):
        count_records(records)


@pytest.mark.parametrize(
    ("cut", "number", "reason"),
    [
        (1, 3, "the file ends inside it (2319 of 2320 bytes left)"),  # 16 + 256 * 9 = 2320
        (2317, 3, "the file ends inside its header (3 of 12 bytes left)"),
        (2320 + 5, 2, "the file ends inside it (22 of 27 bytes left)"),  # 16 + 11 = 27
    ],
)
def test_names_the_record_that_a_cut_off_file_ends_in(records, cut, number, reason):
    records.write_bytes(records.read_bytes()[:-cut])
    assert find_bad_record(records) == (number, reason)
    with pytest.raises(RunError) as error:
        count_records(records)
    assert str(error.value) == f"{records}: record {number} is broken: {reason}"


def test_a_file_of_another_kind_is_broken_at_record_0(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"0 1234\n1234 4321\n" * 10)
    assert find_bad_record(path) == (0, "the checksum of its length is wrong")


def test_a_length_beyond_all_memory_is_not_believed(tmp_path):
    path = tmp_path / "huge"
    length = struct.pack("<Q", 2**62)
    from utils.records.crc32c import masked_crc32c

    path.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + framed(b""))
    number, reason = find_bad_record(path)
    assert number == 0
    assert "ends inside it" in reason


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RunError, match="absent: cannot be read"):
        count_records(tmp_path / "absent")
