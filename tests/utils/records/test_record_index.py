"""Index files of records: equal to those of DALI's tool, verified, and written where possible."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from utils.errors import RunError
from utils.records.record_index import (
    CACHE_FOLDER,
    INDEX_FOLDER,
    cache_folder,
    read_index,
    scan,
    split_index,
    write_index,
)
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import framed

PAYLOADS = (b"one", b"", b"three" * 100, b"4")
# A frame is 16 bytes: 3 + 16, 0 + 16, 500 + 16, 1 + 16.
INDEX = b"0 19\n19 16\n35 516\n551 17\n"


def write_records(path, payloads=PAYLOADS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(framed, payloads)))
    return path


@pytest.fixture
def records(tmp_path):
    return write_records(tmp_path / "data" / "train-00000-of-00001")


@pytest.fixture
def files(records):
    return SplitFiles((str(records),), (4,))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def given(tmp_path, text):
    """An index folder with one file, newer than the records."""
    (tmp_path / "idx").mkdir(exist_ok=True)
    path = tmp_path / "idx" / "train-00000-of-00001"
    path.write_bytes(text)
    return str(tmp_path / "idx")


def test_an_index_has_offset_and_size_of_each_record_with_its_frame(records, tmp_path):
    assert write_index(records, tmp_path / "idx" / records.name)
    assert (tmp_path / "idx" / records.name).read_bytes() == INDEX


@pytest.mark.slow
def test_it_is_what_dalis_tool_writes(records, tmp_path):
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    tool = shutil.which("tfrecord2idx", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    subprocess.run([tool, records, tmp_path / "theirs"], check=True, capture_output=True)
    assert (tmp_path / "theirs").read_bytes() == INDEX


def test_an_index_that_is_there_is_kept_and_one_of_other_records_is_written_anew(records, tmp_path):
    path = tmp_path / "idx" / records.name
    write_index(records, path)
    before = path.stat().st_ino
    assert not write_index(records, path)
    assert path.stat().st_ino == before
    write_records(records, PAYLOADS[:2])
    assert write_index(records, path)
    assert path.read_bytes() == b"0 19\n19 16\n"


def test_without_a_folder_an_index_is_made_beside_the_records_and_used_again(files, records):
    np.testing.assert_array_equal(split_index(files, None), [(0, 19), (19, 16), (35, 516), (551, 17)])
    made = records.parent / INDEX_FOLDER / records.name
    before = made.stat().st_mtime_ns
    split_index(files, None)
    assert made.stat().st_mtime_ns == before


def test_where_nothing_can_be_written_beside_the_records_the_index_goes_to_the_cache(files, records, cache):
    (records.parent / INDEX_FOLDER).write_bytes(b"a file, so that no folder can be made")
    assert len(split_index(files, None)) == 4
    assert (cache_folder(records.parent) / records.name).read_bytes() == INDEX
    assert cache_folder(records.parent).is_relative_to(cache / CACHE_FOLDER)


def test_where_nothing_can_be_written_at_all_the_index_is_made_anew_and_that_is_said(files, records, cache, caplog):
    (records.parent / INDEX_FOLDER).write_bytes(b"")
    cache.write_bytes(b"")
    np.testing.assert_array_equal(split_index(files, None), [(0, 19), (19, 16), (35, 516), (551, 17)])
    assert f"cannot be written (Not a directory); each start has to scan {records}" in caplog.text
    write_records(records, PAYLOADS[:2])
    with pytest.raises(RunError, match="does not match its manifest: it lists 2 records, and must list 4"):
        split_index(files, None)


def test_the_caches_of_two_folders_of_one_name_differ(tmp_path, cache):
    assert cache_folder(tmp_path / "a" / "data") != cache_folder(tmp_path / "b" / "data")


def test_a_split_of_several_files_has_one_index(tmp_path):
    paths = [
        write_records(tmp_path / f"train-{i}", payloads) for i, payloads in enumerate((PAYLOADS[:2], PAYLOADS[2:]))
    ]
    index = split_index(SplitFiles(tuple(map(str, paths)), (2, 2)), None)
    np.testing.assert_array_equal(index, [(0, 19), (19, 16), (0, 516), (516, 17)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0 19\n19 16\n35 516\n", "it lists 3 records, and must list 4"),
        (b"0 19\n19 16\n35 516\n552 16\n", "its record 3 begins at byte 552, but the previous one ends at 551"),
        (b"5 14\n19 16\n35 516\n551 17\n", "its record 0 begins at byte 5, but the previous one ends at 0"),
        (b"0 19\n19 16\n35 516\n551 18\n", "its records have 569 bytes, but the file has 568"),
        (b"0 19\n19 -4\n15 536\n551 17\n", "its records have 568 bytes, but the file has 568"),
        (b"", "it lists 0 records, and must list 4"),
        (b"0\n19\n35\n551\n", "is not an index file: a line has 1 numbers; must be offset and size"),
        (b"zero 19\n", "is not an index file: could not convert"),
        (b"\xff\xfe\x00", "is not an index file"),
        (b"0 99999999999999999999999\n", "is not an index file"),
    ],
)
def test_a_given_index_that_is_not_that_of_the_records_is_refused(files, tmp_path, text, message):
    with pytest.raises(RunError) as error:
        split_index(files, given(tmp_path, text))
    assert message in str(error.value)
    assert "idx/train-00000-of-00001: is n" in str(error.value)
    assert "(--data_idx_dir); `bash utils/dali_index.sh SRC DST` writes" in str(error.value)


def test_an_index_older_than_its_records_is_compared_record_by_record(files, records, tmp_path):
    folder = given(tmp_path, b"0 16\n16 19\n35 516\n551 17\n")  # covers the file; its second record begins elsewhere
    path = Path(folder) / records.name
    os.utime(path, ns=(0, records.stat().st_mtime_ns - 1))
    with pytest.raises(RunError, match="the file was changed after the index was written"):
        split_index(files, folder)
    path.write_bytes(INDEX)
    os.utime(path, ns=(0, 0))
    assert len(split_index(files, folder)) == 4  # copies lose their times, but are sound


def test_a_missing_folder_or_file_is_named(files, tmp_path):
    with pytest.raises(RunError, match=r"--data_idx_dir .*/none: no such folder; `bash utils/dali_index.sh SRC DST`"):
        split_index(files, str(tmp_path / "none"))
    with pytest.raises(RunError, match=r"--data_idx_dir .*: has no index of train-00000-of-00001; `bash"):
        split_index(files, str(tmp_path))


def test_a_broken_record_file_has_no_index(files, records):
    data = bytearray(records.read_bytes())
    data[20] ^= 1  # in the length of record 1
    records.write_bytes(data)
    with pytest.raises(RunError, match="record 1 is broken: the checksum of its length is wrong"):
        split_index(files, None)
    assert [*(records.parent / INDEX_FOLDER).iterdir()] == []


def test_processes_that_want_the_same_index_write_it_once(records, tmp_path):
    path, wrote = tmp_path / "idx" / records.name, []
    threads = [threading.Thread(target=lambda: wrote.append(write_index(records, path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wrote) == [False] * 5 + [True]
    np.testing.assert_array_equal(read_index(path, records, 4), scan(records))
