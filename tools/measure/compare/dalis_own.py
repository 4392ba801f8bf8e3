"""The contestant that reads records with DALI alone, as its documentation shows for ResNet-50 (no TF)."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tools.measure.compare.protocol import from_empty, serve
from utils.records.record_index import CACHE_FOLDER, INDEX_FOLDER, split_index
from utils.records.split_files import load_split
from utils.weights.pretrained_config import MEAN_RGB, STD_RGB

CROP_AREA, CROP_ASPECT, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 100


def main() -> None:
    """Runs the contestant that the command line describes in JSON."""
    training_input(**json.loads(sys.argv[1]))


def training_input(data_dir: str, batch: int, image_size: int, threads: int) -> None:
    """DALI's own reader, random crop and normalization on the CPU, with index files."""
    dali: Any = importlib.import_module("nvidia.dali")
    fn, types = dali.fn, dali.types
    record_format: Any = importlib.import_module("nvidia.dali.tfrecord")
    files = load_split(data_dir, "train")
    split_index(files, None)
    index = [Path(path).parent / INDEX_FOLDER / Path(path).name for path in files.paths]
    if not all(path.is_file() for path in index):
        raise SystemExit(f"{data_dir}: cannot be written to; this needs {INDEX_FOLDER} in it, not {CACHE_FOLDER}")
    pipeline = dali.Pipeline(batch, threads, None, seed=1)
    with pipeline:
        features = {
            "image/encoded": record_format.FixedLenFeature((), record_format.string, ""),
            "image/class/label": record_format.FixedLenFeature([1], record_format.int64, -1),
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
        images = fn.resize(images, size=[image_size] * 2, interp_type=types.INTERP_LINEAR, antialias=False)
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
    serve(from_empty(pipeline.run), {"version": f"DALI {dali.__version__}"})
