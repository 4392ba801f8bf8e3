"""One reader of ``input_readers`` in this project's environment: makes batches on request."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.benchmarks.common import THREADS, serve

CROP_AREA, CROP_ASPECT, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 100


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--reader", required=True)
    arguments.add_argument("--data_dir", required=True)
    arguments.add_argument("--batch_size", type=int, required=True)
    arguments.add_argument("--image_size", type=int, required=True)
    options = arguments.parse_args()
    made = dalis_own(options) if options.reader == "DALI" else ours(options)
    serve(made, reader=options.reader)


def ours(options):
    """A function that makes batches of this project's input and normalizes them."""
    import tensorflow as tf

    from utils.dali_utils import DaliReader
    from utils.data_utils import TensorFlowReader
    from utils.image_processing import normalize
    from utils.input.augmentation_specs import classification_steps
    from utils.input.batching import InputOptions, Position, Shard, make_input
    from utils.input.labelled_images import LABELLED_IMAGES
    from utils.records.manifest import load_split

    reader = DaliReader(None, None) if options.reader == "--dali" else TensorFlowReader()
    how = InputOptions(
        image_size=options.image_size, batch_size=options.batch_size, num_classes=1000, label_offset=1, seed=0,
        augmentation=classification_steps(min_crop_area=CROP_AREA[0], color_jitter=0.0), threads=THREADS,
    )  # fmt: skip
    files = load_split(options.data_dir, "train")
    graph = tf.Graph()
    with graph.as_default():
        stream = make_input(reader.train_batches(files, LABELLED_IMAGES, how, Shard(), Position()))
        # Normalized in the graph, as in a training step. A group is computed, not optimized away or copied to Python.
        batch = tf.group(normalize(stream.batch.images), stream.batch.index)
    threads = {"intra_op_parallelism_threads": THREADS, "inter_op_parallelism_threads": THREADS}
    session = tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(**threads))
    session.run(stream.initializer)
    step = session.make_callable(batch)

    def make(count):
        for _ in range(count):
            step()

    return make


def dalis_own(options):
    """A function that makes batches with DALI's reader, random crop and normalization."""
    from nvidia.dali import Pipeline, fn, tfrecord, types

    from utils.records.manifest import load_split
    from utils.records.record_index import CACHE_FOLDER, INDEX_FOLDER, split_index
    from utils.weights.pretrained_config import MEAN_RGB, STD_RGB

    files = load_split(options.data_dir, "train")
    split_index(files, None)
    index = [Path(path).parent / INDEX_FOLDER / Path(path).name for path in files.paths]
    if not all(path.is_file() for path in index):
        raise SystemExit(
            f"{options.data_dir}: cannot be written to; this needs {INDEX_FOLDER} in it, not {CACHE_FOLDER}"
        )
    pipeline = Pipeline(options.batch_size, THREADS, None, seed=1)
    with pipeline:
        features = {
            "image/encoded": tfrecord.FixedLenFeature((), tfrecord.string, ""),
            "image/class/label": tfrecord.FixedLenFeature([1], tfrecord.int64, -1),
        }
        record = fn.readers.tfrecord(
            path=list(files.paths),
            index_path=[*map(str, index)],
            features=features,
            random_shuffle=True,
            initial_fill=4096,
        )
        images = fn.decoders.image_random_crop(
            record["image/encoded"],
            output_type=types.RGB,
            random_area=list(CROP_AREA),
            random_aspect_ratio=list(CROP_ASPECT),
            num_attempts=ATTEMPTS,
        )
        images = fn.resize(images, size=[options.image_size] * 2, interp_type=types.INTERP_LINEAR, antialias=False)
        images = fn.crop_mirror_normalize(
            images,
            dtype=types.FLOAT,
            output_layout="HWC",
            mean=list(MEAN_RGB),
            std=list(STD_RGB),
            mirror=fn.random.coin_flip(),
        )
        pipeline.set_outputs(images, record["image/class/label"] - 1)
    pipeline.build()

    def make(count):
        for _ in range(count):
            pipeline.run()

    return make


if __name__ == "__main__":
    main()
