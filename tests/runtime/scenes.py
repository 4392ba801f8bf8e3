"""Records of small scenes, bright rectangles of three kinds on gray noise, for runs of tiny detectors."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tests.utils.input_records import encode
from utils.records.manifest import Manifest, ShardFile, Split, write_manifest

NAMES, IDS = ("red", "green", "blue"), (1, 3, 4)  # with a gap, as in COCO
CHANNEL = dict(zip(IDS, range(3), strict=True))


class Thing(NamedTuple):
    """An object: its box in pixels, its category, and whether it is a crowd."""

    top: int
    left: int
    bottom: int
    right: int
    category: int
    crowd: bool = False


def scene(number: int, side: int = 96) -> list[Thing]:
    """The objects of a scene: one to three, apart from each other."""
    rng = np.random.default_rng(number)
    quarters = rng.permutation([(0, 0), (0, 1), (1, 0), (1, 1)])[: 1 + number % 3]
    half = side // 2
    things = []
    for row, column in quarters:
        height, width = rng.integers(half // 3, half - 4, 2)
        top, left = row * half + rng.integers(2, half - height), column * half + rng.integers(2, half - width)
        things.append(Thing(int(top), int(left), int(top + height), int(left + width), int(rng.choice(IDS))))
    return things


def picture_of(things: list[Thing], seed: int, side: int = 96, width: int | None = None) -> bytes:
    """The encoded picture of a scene, with nothing at the right if it is wider than high."""
    pixels = np.random.default_rng(seed).integers(90, 130, (side, width or side, 3)).astype(np.uint8)
    for thing in things:
        color = np.full(3, 40, np.uint8)
        color[CHANNEL[thing.category]] = 230
        pixels[thing.top : thing.bottom, thing.left : thing.right] = color
    return encode(pixels)


def scene_record(number: int, things: list[Thing], encoded: bytes, side: int = 96, width: int | None = None) -> bytes:
    """A serialized record with all object keys of the converter."""
    width = width or side

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=list(values)))

    def integers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=list(values)))

    def texts(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=list(values)))

    names = dict(zip(IDS, NAMES, strict=True))
    features = {
        "image/encoded": texts([encoded]),
        "image/source_id": texts([str(number).encode()]),
        "image/object/bbox/ymin": floats(t.top / side for t in things),
        "image/object/bbox/xmin": floats(t.left / width for t in things),
        "image/object/bbox/ymax": floats(t.bottom / side for t in things),
        "image/object/bbox/xmax": floats(t.right / width for t in things),
        "image/object/class/text": texts(names[t.category].encode() for t in things),
        "image/object/class/label": integers(t.category for t in things),
        "image/object/is_crowd": integers(int(t.crowd) for t in things),
        "image/object/area": floats((t.bottom - t.top) * (t.right - t.left) for t in things),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_scenes(
    folder: Path, train: int = 10, validation: int = 6, first_validation: int = 1000, width: int | None = None
) -> Path:
    """A detection data set; ``first_validation`` 0 makes the validation scenes the first training scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, name, first, count in (
        ("train", "coco_train", 0, train),
        ("validation", "coco_val", first_validation, validation),
    ):
        path = folder / f"{name}.record-00000-of-00001"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in range(first, first + count):
                things = scene(number)
                picture = picture_of(things, number, width=width)
                writer.write(scene_record(number + 1, things, picture, width=width))
        splits[split] = Split(shards=(ShardFile(file=path.name, examples=count, bytes=path.stat().st_size),))
    write_manifest(
        folder,
        Manifest(
            task="detection",
            class_names=NAMES,
            category_ids=IDS,
            class_count=len(NAMES),
            head_size=max(IDS) + 1,
            label_offset=0,
            splits=splits,
        ),
    )
    return folder
