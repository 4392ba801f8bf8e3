"""Input of 12-megapixel photographs with and without --scaled_decoding, on two threads.

    .venv/bin/python -m tests.benchmarks.scaled_decoding --images FOLDER [--grain 3]

The photographs are made of those in FOLDER: enlarged to 4000 x 3000 pixels, with the grain of a sensor, whose strength
decides how many bytes a JPEG takes. Both inputs run in one process and take turns in rounds, from the record to the
batch: training with random crops of 8 to 100 % of the area, and evaluation of the center. The grey levels of the images
for evaluation are compared too.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.benchmarks.common import THREADS, json_line, load_at_start, table
from tests.utils.input_records import record, write_files
from utils.input.augmentation_specs import classification_steps
from utils.input.batching import InputOptions, make_iterator
from utils.input.labelled_images import LABELLED_IMAGES

LONG, SHORT = 4000, 3000


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", required=True, help="folder of JPEGs, at any depth")
    arguments.add_argument("--count", type=int, default=16, help="photographs to make")
    arguments.add_argument("--grain", type=float, default=3.0, help="its standard deviation in grey levels")
    arguments.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    arguments.add_argument("--image_size", type=int, default=224)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--passes", type=int, default=3, help="over all photographs, in each round")
    options = arguments.parse_args()
    load = load_at_start()
    with tempfile.TemporaryDirectory() as folder:
        photographs = [made(path, options, number) for number, path in enumerate(chosen(options))]
        files = write_files(Path(folder), [record(encoded) for encoded in photographs])
        kinds = [(purpose, scaled) for purpose in ("training", "evaluation") for scaled in (False, True)]
        readings = {kind: Reading(files, options, *kind) for kind in kinds}
        spent = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind, reading in readings.items():
                spent[kind].append(reading.seconds())
        images = [next(readings["evaluation", scaled].batches()) for scaled in (False, True)]
    report(photographs, spent, np.abs(images[1] - images[0]), load, options)


def report(photographs, spent, difference, load, options):
    """Prints speeds, their ratios and the differences of the images; ``spent`` has pairs of seconds by kind."""
    count, rows = options.count * options.passes, {}
    for purpose in ("training", "evaluation"):
        for scaled, name in ((False, "full size"), (True, "scaled")):
            rows[f"{purpose}, {name}, images/s"] = [count / passed for passed, _ in spent[purpose, scaled]]
        both = list(zip(spent[purpose, False], spent[purpose, True], strict=True))
        rows[f"{purpose}, times as fast"] = [full[0] / scaled[0] for full, scaled in both]
        rows[f"{purpose}, processor time, full size / scaled"] = [full[1] / scaled[1] for full, scaled in both]
    megabytes = sum(map(len, photographs)) / len(photographs) / 1e6
    print(f"{options.count} photographs of {megabytes:.2f} MB, {options.image_size} pixels, {THREADS} threads")
    table(rows)
    levels = {"mean": float(difference.mean()), "99 % below": float(np.quantile(difference, 0.99))}
    print("difference in grey levels: " + ", ".join(f"{name} {level:.2f}" for name, level in levels.items()))
    json_line(benchmark="scaled_decoding", load_at_start=load, megabytes=megabytes, levels=levels, **rows)


def chosen(options):
    """Photographs at even distances among all in the folder."""
    found = sorted(Path(options.images).rglob("*.jpg"))
    if len(found) < options.count:
        raise SystemExit(f"{options.images}: has {len(found)} files *.jpg, and --count asks for {options.count}")
    return found[:: len(found) // options.count][: options.count]


def made(path, options, number):
    """A photograph of 12 megapixels, encoded."""
    with Image.open(path) as image:
        size = (LONG, SHORT) if image.width > image.height else (SHORT, LONG)
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(number).standard_normal(pixels.shape, np.float32) * options.grain
    buffer = io.BytesIO()
    image = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
    image.save(buffer, "JPEG", quality=options.quality, subsampling="4:2:0")
    return buffer.getvalue()


class Reading:
    """Passes over the records, from their bytes to a batch of images each, on request."""

    def __init__(self, files, options, purpose, scaled):
        how = InputOptions(
            image_size=options.image_size, batch_size=options.count, num_classes=1000, label_offset=1, seed=0,
            augmentation=classification_steps(min_crop_area=0.08, color_jitter=0.0), threads=THREADS,
            scaled_decoding=scaled,
        )  # fmt: skip

        def image(index, serialized):
            if purpose == "training":
                return LABELLED_IMAGES.train(serialized, tf.stack([tf.constant(0, tf.int64), index]), how).image
            return LABELLED_IMAGES.evaluate(serialized, how).image

        threads = {"intra_op_parallelism_threads": THREADS, "inter_op_parallelism_threads": THREADS}
        graph = tf.Graph()
        with graph.as_default():
            images = tf.data.TFRecordDataset(list(files.paths)).repeat(1 + options.passes).enumerate()
            images = images.map(image, num_parallel_calls=how.decode_threads, deterministic=True)
            self._iterator = make_iterator(images.batch(options.count))
            self._batch = self._iterator.get_next()
        self._session = tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(**threads))

    def batches(self):
        """Yields the batch of each pass."""
        self._session.run(self._iterator.initializer)
        with contextlib.suppress(tf.errors.OutOfRangeError):
            while True:
                yield self._session.run(self._batch)

    def seconds(self):
        """The time of all passes after the first, which includes the start of the pipeline, and the processor's."""
        batches = self.batches()
        next(batches)
        began = time.perf_counter(), time.process_time()
        for _ in batches:
            pass
        return time.perf_counter() - began[0], time.process_time() - began[1]


if __name__ == "__main__":
    main()
