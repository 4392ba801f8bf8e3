"""Shared helpers for the tests of the converter: run it, and read its records with TensorFlow."""

from pathlib import Path

import tensorflow as tf

import tools.convert.shard_writer
from tools.convert.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


def convert(source, out, *flags, workers=1):
    """Runs the command in this process and returns its exit status."""
    return main([str(source), str(out), "--workers", str(workers), *flags])


def examples(out, split):
    """Every record of a split, read and parsed by TensorFlow."""
    paths = sorted(str(path) for path in out.glob(f"{split}-*"))
    return [tf.train.Example.FromString(data) for data in tf.data.TFRecordDataset(paths).as_numpy_iterator()]


def values(example, key):
    """The list of values of a feature, or None without the feature."""
    if key not in example.features.feature:
        return None
    feature = example.features.feature[key]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def value(example, key):
    """The only value of a feature."""
    (only,) = values(example, key)
    return only


def files(out):
    """The visible files of a folder with their bytes."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def count_written(monkeypatch):
    """Returns a list that receives the file name of every record written from now on."""
    written = []
    real = tools.convert.shard_writer.encode_example

    def counting(features):
        written.append(features["image/filename"])
        return real(features)

    monkeypatch.setattr(tools.convert.shard_writer, "encode_example", counting)
    return written
