"""Labels of all records: read once, kept, and read anew when records change."""

import dataclasses
import logging
import os

import numpy as np
import pytest

from tests.utils.input_records import record, write_files
from utils.records import label_index
from utils.records.label_index import LABEL_FOLDER, split_labels
from utils.records.split_files import SplitFiles

LABELS = (3, 1, 1, 9, 2, 3)  # 9 is no class


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path, [*(record(b"x", label) for label in LABELS), b"junk"], files=2)


def labels(files, **how):
    return split_labels(files, offset=1, num_classes=3, **how)


def test_labels_become_classes_and_unusable_ones_none(files, caplog):
    found = labels(files)
    assert found.first.tolist() == [2, 0, 0, -1, 1, 2, -1]
    assert found.counts(3).tolist() == [2, 1, 2]
    assert "2 records without a usable label" in caplog.text


def test_only_chosen_examples_count(files, caplog):
    found = labels(dataclasses.replace(files, chosen=(0, 1, 3, 4)))
    assert found.first.tolist() == [2, 0, -1, -1, 1, -1, -1]
    assert found.counts(3).tolist() == [1, 1, 1]
    assert "1 record without a usable label" in caplog.text


def test_labels_are_read_once_and_again_when_the_records_change(files, tmp_path, monkeypatch):
    labels(files)
    kept = sorted(path.name for path in (tmp_path / LABEL_FOLDER).iterdir())
    assert kept == [f"train-{n:05d}-of-00002" for n in range(2)]
    read = []
    monkeypatch.setattr(label_index, "_read", lambda path, real=label_index._read: read.append(path) or real(path))
    labels(files)
    assert read == []
    changed = write_files(tmp_path, [record(b"x", 2)] * len(LABELS) + [b"junk"], files=2)
    os.utime(changed.paths[0], ns=(1, 1))
    assert labels(changed).first.tolist() == [1] * 6 + [-1]
    assert len(read) == 2


def test_a_read_only_folder_leaves_the_labels_in_the_cache(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / LABEL_FOLDER).write_text("in the way of the folder")
    assert labels(files).first.tolist() == [2, 0, 0, -1, 1, 2, -1]
    assert len([path for path in (tmp_path / "cache").rglob("train-*") if path.is_file()]) == 2


def test_a_damaged_label_file_is_written_anew(files, tmp_path):
    labels(files)
    path = tmp_path / LABEL_FOLDER / "train-00000-of-00002"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"3", b"x"))
    assert labels(files).first.tolist() == [2, 0, 0, -1, 1, 2, -1]
    assert path.read_bytes() == good


def test_records_may_have_several_labels_or_none(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    examples = [several(given) for given in ([1, 3], [], [2, 2, 7])]
    files = write_files(tmp_path, examples)
    found = labels(files, several=True)
    assert (found.rows.tolist(), found.classes.tolist()) == ([0, 0, 2], [0, 2, 1])
    assert found.first.tolist() == [0, -1, 1]
    assert not caplog.text
    assert labels(files).first.tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(labels(SplitFiles((), ())).first, [])


def several(given):
    import tensorflow as tf

    features = {"image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=given))}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
