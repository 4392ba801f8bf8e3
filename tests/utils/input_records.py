"""Small record files and helpers to run inputs on them, shared by the tests of the input modules."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from utils.dali_utils import DaliReader
from utils.data_utils import TensorFlowReader
from utils.input.augmentation_specs import classification_steps
from utils.input.batching import InputOptions
from utils.records.split_files import SplitFiles


class Fetched(NamedTuple):
    images: np.ndarray
    labels: np.ndarray
    status: np.ndarray
    index: np.ndarray


def encode(pixels, image_format="PNG", **options):
    buffer = io.BytesIO()
    mode = "CMYK" if pixels.ndim == 3 and pixels.shape[-1] == 4 else None
    image = Image.fromarray(pixels) if mode is None else Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def noise(seed, height=20, width=24):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def coordinates(height, width):
    """An image whose pixels encode their position: red is the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def legacy_resize(image, height, width):
    """A second implementation: output pixel i lies at i * input / output, the last input pixel is repeated."""
    image = image.astype(np.float64)

    def neighbors(size, new_size):
        where = np.arange(new_size, dtype=np.float32) * np.float32(np.float32(size) / np.float32(new_size))
        low = np.floor(where).astype(int)
        return low, np.minimum(low + 1, size - 1), where - low

    low, high, share = neighbors(image.shape[0], height)
    rows = image[low] + (image[high] - image[low]) * share[:, None, None]
    low, high, share = neighbors(image.shape[1], width)
    return rows[:, low] + (rows[:, high] - rows[:, low]) * share[None, :, None]


def record(encoded, label=1, boxes=()):
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=np.atleast_1d(label).tolist())),
    }
    for side, name in enumerate(("ymin", "xmin", "ymax", "xmax")):
        values = tf.train.FloatList(value=[box[side] for box in boxes])
        features[f"image/object/bbox/{name}"] = tf.train.Feature(float_list=values)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_files(folder, records, files=1, name="train"):
    """Writes records to ``files`` files of nearly equal size, and returns them as a split."""
    paths, counts = [], []
    for number, block in enumerate(np.array_split(np.arange(len(records)), files)):
        path = str(folder / f"{name}-{number:05d}-of-{files:05d}")
        with tf.io.TFRecordWriter(path) as writer:
            for i in block:
                writer.write(records[i])
        paths.append(path)
        counts.append(len(block))
    return SplitFiles(tuple(paths), tuple(counts))


def options(**changes):
    """Options of an input, by default with the augmentation for classification."""
    usual = classification_steps(min_crop_area=0.08, color_jitter=0.0)
    given = {"image_size": 8, "batch_size": 4, "num_classes": 10, "label_offset": 1, "seed": 5, "augmentation": usual}
    return InputOptions(**given | changes)


def quick_session():
    """A session that does not optimize graphs, because most of them run only a few times."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf.compat.v1.Session(config=config)


def fetch(build, steps=10**6, graph_seed=None):
    """Builds an input in its own graph and returns its next ``steps`` batches, or all of them."""
    fetched = []
    with tf.Graph().as_default():
        if graph_seed is not None:
            tf.compat.v1.set_random_seed(graph_seed)
        stream = build()
        batch = stream.batch
        labels = batch.targets.get("labels", tf.constant(0))
        with quick_session() as session:
            session.run(stream.initializer)
            step = session.make_callable([batch.images, labels, batch.status, batch.index])
            try:
                while len(fetched) < steps:
                    fetched.append(Fetched(*step()))
            except tf.errors.OutOfRangeError:
                pass
    return fetched


def assert_same(batches, others):
    """Asserts that two sequences of batches are equal in all fields."""
    for ours, theirs in zip(batches, others, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def run_graph(build):
    """The values of the tensors that ``build`` creates in its own graph."""
    with tf.Graph().as_default():
        tensors = build()
        with quick_session() as session:
            return session.run(tensors)


def train_input(files, decoder, options, shard, start):
    """TensorFlow's training input in the current graph."""
    return TensorFlowReader().train_input(files, decoder, options, shard, start)


def eval_input(files, decoder, options, shard):
    """TensorFlow's evaluation input in the current graph."""
    return TensorFlowReader().eval_input(files, decoder, options, shard)


def reader(name):
    """The reader "tf.data" or "dali"; skips the test if DALI is not installed.

    The reader "dali by reference" treats the CPU as a GPU, on which the images stay.
    """
    if name == "tf.data":
        return TensorFlowReader()
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    return DaliReader(None, network_device="/CPU:0" if name == "dali by reference" else None)
