import errno
import os
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import pytest

import tools.convert.conversion
import tools.convert.shard_writer
from tests.tools.convert.converting import convert, count_written, files
from tests.utils.tiny_images import two_classes, write_files
from utils.records.manifest import read_manifest


def test_the_output_may_not_lie_among_the_images(source, tmp_path, capsys):
    for root, out in ((source, source / "train" / "out"), (source / "train", source / "train" / "out")):
        assert convert(root, out) == 2
        assert "which images are read from; write to a folder outside it" in capsys.readouterr().err
        assert not out.exists()
    assert convert(source, source / "records") == 0
    assert convert(source, source / "records") == 0


def test_the_data_set_of_another_source_is_kept_unless_told_to_overwrite(source, tmp_path, capsys):
    out, other = tmp_path / "out", two_classes(tmp_path / "other", train=2, validation=1)
    assert convert(source, out, "--train_shards", "3") == 0
    before = files(out)
    assert convert(other, out) == 2
    assert f"error: {out}: already holds a data set converted from {source}" in capsys.readouterr().err
    assert files(out) == before
    assert convert(other, out, "--overwrite") == 0
    assert sorted(files(out)) == ["dataset.json", "train-00000-of-00001", "validation-00000-of-00001"]
    assert read_manifest(out).splits["train"].examples == 4


@pytest.mark.parametrize("name", ["dataset.json", "train-00000-of-01024"])
def test_records_of_unknown_origin_are_kept_unless_told_to_overwrite(source, tmp_path, capsys, name):
    out = write_files(tmp_path / "out", {name: b"precious", "notes.txt": b"mine"})
    assert convert(source, out) == 2
    assert f"not written by this converter (1 file, {name} first)" in capsys.readouterr().err
    assert files(out) == {name: b"precious", "notes.txt": b"mine"}
    assert convert(source, out, "--overwrite") == 0
    assert files(out)["notes.txt"] == b"mine"
    assert "train-00000-of-01024" not in files(out)


def test_an_output_folder_with_other_files_is_fine(source, tmp_path):
    out = write_files(tmp_path / "out", {"notes.txt": b"mine"})
    assert convert(source, out) == 0
    assert files(out)["notes.txt"] == b"mine"


def test_overwrite_starts_from_nothing(source, tmp_path, monkeypatch):
    assert convert(source, tmp_path / "out") == 0
    written = count_written(monkeypatch)
    assert convert(source, tmp_path / "out", "--overwrite") == 0
    assert len(written) == 18


def test_an_output_that_cannot_be_made_is_a_sentence(source, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert convert(source, tmp_path / "file") == 1
    assert f"error: {tmp_path / 'file'}: is a file, not a folder to write to" in capsys.readouterr().err
    assert convert(source, tmp_path / "file" / "out") == 1
    assert f"error: {tmp_path / 'file' / 'out'}: cannot be written (Not a directory)" in capsys.readouterr().err
    assert convert(source, "/proc/out") == 1
    assert "error: /proc/out: cannot be written (" in capsys.readouterr().err


def test_two_conversions_do_not_write_to_one_folder(source, tmp_path, capsys, monkeypatch):
    real = tools.convert.conversion.write_shard
    statuses = []

    def with_another(plan):
        if not statuses:
            statuses.append(None)
            statuses[0] = convert(source, tmp_path / "out")
        return real(plan)

    monkeypatch.setattr(tools.convert.conversion, "write_shard", with_another)
    assert convert(source, tmp_path / "out") == 0
    assert statuses == [1]
    assert "another conversion is writing to it; wait for it to end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "no space left on the disk; make room, then run the same command again"),
        (errno.EDQUOT, "no space left on the disk; make room, then run the same command again"),
        (errno.EIO, "cannot be written (Input/output error)"),
    ],
)
def test_a_full_disk_is_a_sentence_and_keeps_what_is_complete(source, tmp_path, capsys, monkeypatch, number, sentence):
    out, flags = tmp_path / "out", ("--train_shards", "4")
    real = tools.convert.shard_writer.atomic_file

    class Full:
        def write(self, data):
            raise OSError(number, os.strerror(number))

    @contextmanager
    def full_at_the_third(path):
        with real(path) as file:
            yield Full() if path.name == "train-00002-of-00004" else file

    with monkeypatch.context() as patch:
        patch.setattr(tools.convert.shard_writer, "atomic_file", full_at_the_third)
        assert convert(source, out, *flags) == 1
    assert capsys.readouterr().err.endswith(f"error: {out}: {sentence}; 2 of 5 shards are complete and kept\n")
    assert sorted(files(out)) == ["train-00000-of-00004", "train-00001-of-00004"]
    written = count_written(monkeypatch)
    assert convert(source, out, *flags) == 0
    assert len(written) == 12


def test_a_full_disk_at_the_manifest_is_a_sentence(source, tmp_path, capsys, monkeypatch):
    def full(folder, manifest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(tools.convert.conversion, "write_manifest", full)
        assert convert(source, tmp_path / "out") == 1
    assert "no space left on the disk" in capsys.readouterr().err
    assert convert(source, tmp_path / "out") == 0


def test_a_killed_worker_is_a_sentence(source, tmp_path, capsys, monkeypatch):
    class Pool:
        def __init__(self, *arguments, **options):
            pass

        def submit(self, *arguments):
            raise BrokenProcessPool("a child process terminated abruptly")

        def shutdown(self, **options):
            pass

    monkeypatch.setattr(tools.convert.conversion, "worker_pool", Pool)
    assert convert(source, tmp_path / "out", workers=2) == 1
    assert "a worker process was killed, perhaps for lack of memory; run the same" in capsys.readouterr().err
