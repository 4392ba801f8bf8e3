"""Shared helpers for the tests of COCO conversion: run it, and read its records."""

import numpy as np
import tensorflow as tf

from tests.object_detection.tiny_coco import content, image, write_split
from tests.tools.convert.converting import values
from tests.utils.tiny_images import jpeg
from tools.convert.coco_command import main
from utils.records.split_files import load_split

OBJECT = "image/object/"


def convert(out, *flags, workers=1):
    """Runs the command in this process and returns its exit status."""
    return main(["--output_dir", str(out), "--workers", str(workers), *flags])


def examples(out, split):
    """Every record of a split, in reading order."""
    paths = load_split(out, split).paths
    return [tf.train.Example.FromString(data) for data in tf.data.TFRecordDataset(paths).as_numpy_iterator()]


def boxes(example):
    """The boxes of a record, ``[G, 4]``."""
    return np.array([values(example, f"{OBJECT}bbox/{edge}") or [] for edge in ("ymin", "xmin", "ymax", "xmax")]).T


def one_image(tmp_path, annotations, picture=None, entry=None, flags=(), name="a.jpg"):
    """Converts one image and returns its record."""
    coco = content([entry or image(1, name)], annotations)
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, {name: picture or jpeg()}), *flags) == 0
    (example,) = examples(tmp_path / "out", "train")
    return example
