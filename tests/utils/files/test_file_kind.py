"""Files in the place of others are recognized by their first bytes."""

import io
import os
import zipfile

import numpy as np
import pytest

from utils.files.file_kind import conflict_line, kind_of_bytes, kind_of_file


def archive(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"{}")
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs pointer"),
        (b"\n <!-- a --> <!DOCTYPE html>", "web page"),
        (b"\xef\xbb\xbf<HTML lang=de>", "web page"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG image"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file, as Keras writes"),
        (archive("metadata.json", "config.json", "model.weights.h5"), "Keras 3 file"),
        (archive("arr_0.npy"), "archive of NumPy arrays"),
        (array(), "a NumPy array"),
        (archive("train-00000-of-00002"), "a zip file; extract it"),
        (archive("net/data/0", "net/data.pkl", "net/code/__torch__.py"), "a TorchScript program"),
        (archive("net/version", "net/code/__torch__.py"), "a TorchScript program"),
        (b"\x1f\x8b\x08", "compressed with gzip; gunzip it"),
        (b"\x78\x9c\x01", "compressed with zlib; decompress it"),
        (b"<?xml version='1.0'?><Error>", "an XML document"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite model"),
    ],
)
def test_a_kind_is_known_by_its_beginning(tmp_path, content, kind):
    assert kind in kind_of_bytes(content)
    (tmp_path / "file").write_bytes(content)
    assert kind_of_file(tmp_path / "file") == kind_of_bytes(content[:512])


@pytest.mark.parametrize(
    "content", [b"{}", b"\x80\x02}", archive("archive/data.pkl"), b"\x78\x9d", b"<xml/>", b"\0" * 600]
)
def test_others_have_no_kind(content):
    assert kind_of_bytes(content) is None


def test_what_is_no_file_has_no_kind(tmp_path):
    assert kind_of_file(tmp_path) is None
    assert kind_of_file(tmp_path / "missing") is None


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe, and must be a regular file"):
        kind_of_file(tmp_path / "pipe")


def test_conflict_markers_are_found_by_their_line():
    assert conflict_line(b'{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> x\n}') == 2
    assert conflict_line(b"{\n}\r\n||||||| base\r\n") == 3
    assert conflict_line(b'{"a": "<<<<<<< HEAD"}\n======== more\n') is None
