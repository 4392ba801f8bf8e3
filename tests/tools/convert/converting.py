"""What the tests of the converter share: running it, and reading what it wrote as TensorFlow does."""

from pathlib import Path

import tensorflow as tf

import tools.convert.shard_writer
from tools.convert.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


def convert(source, out, *flags, workers=1):
    """Runs the command in this process and returns its exit status."""
    return main([str(source), str(out), "--workers", str(workers), *flags])


def examples(out, split):
    """Every record of a split as TensorFlow reads and parses it."""
    paths = sorted(str(path) for path in out.glob(f"{split}-*"))
    return [tf.train.Example.FromString(data) for data in tf.data.TFRecordDataset(paths).as_numpy_iterator()]


def values(example, key):
    """The list that a feature holds, or None where there is no such feature."""
    if key not in example.features.feature:
        return None
    feature = example.features.feature[key]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def value(example, key):
    """The one value that a feature holds."""
    (only,) = values(example, key)
    return only


def files(out):
    """The visible files of a folder with their bytes."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def count_written(monkeypatch):
    """A list that grows with the file name of every record written from here on."""
    written = []
    real = tools.convert.shard_writer.encode_example

    def counting(features):
        written.append(features["image/filename"])
        return real(features)

    monkeypatch.setattr(tools.convert.shard_writer, "encode_example", counting)
    return written
