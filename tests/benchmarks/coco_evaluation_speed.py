"""Time and memory to score a split, and the time of pycocotools for a part of it.

    .venv/bin/python -m tests.benchmarks.coco_evaluation_speed --images 5000

The images are synthetic but like COCO's: 80 categories, about 7 objects of a few categories per image, and 100
detections, about half of them near an object. Adding is all calls of ``update``; scoring is ``result``; writing is
``artefacts`` after it.
"""

import argparse
import json
import resource
import time

import numpy as np

from object_detection.coco.evaluation import CocoEvaluator
from object_detection.coco.metrics import METRICS
from tests.benchmarks.common import json_line, load_at_start
from tests.object_detection.coco_problems import plain_pycocotools

CATEGORIES, OBJECTS, DETECTIONS, BATCH = 80, 7, 100, 8
HEIGHT, WIDTH = 480, 640


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=5000)
    arguments.add_argument("--compared", type=int, default=200, help="images to score with pycocotools too; 0 for none")
    options = arguments.parse_args()
    load = load_at_start()
    memory = peak_mb()
    seconds = run(options.images)[1]
    memory = peak_mb() - memory
    lines = [f"{name} {value:.2f} s" for name, value in seconds.items()]
    print(f"{options.images} images: {', '.join(lines)}; {memory:.0f} MB more at the peak")
    compared = compare(options.compared) if options.compared else {}
    json_line(
        benchmark="coco_evaluation_speed",
        images=options.images,
        load_at_start=load,
        peak_mb=memory,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **compared,
    )


def compare(images):
    """Compares our time with that of pycocotools on the same files, and the metrics, which must be equal."""
    evaluator, seconds = run(images)
    groundtruth, results = files(images), json.loads(evaluator.artefacts()["detections.json"])
    began = time.perf_counter()
    evaluation, _ = plain_pycocotools(groundtruth, results)
    theirs = time.perf_counter() - began
    difference = np.abs(np.array([evaluator.result()[name] for name in METRICS]) - evaluation.stats).max()
    ours = seconds["scoring"]
    print(f"{images} images: scoring {ours:.2f} s, pycocotools {theirs:.2f} s, largest difference {difference:.1e}")
    return {"compared_images": images, "ours_seconds": ours, "pycocotools_seconds": theirs, "difference": difference}


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(images):
    """Runs an evaluator over a number of images; returns it and the seconds of each part."""
    evaluator = CocoEvaluator([(number, f"category {number}") for number in range(1, CATEGORIES + 1)])
    adding = 0.0
    for first in range(0, images, BATCH):
        batch = made_up(range(first, min(first + BATCH, images)))
        began = time.perf_counter()
        evaluator.update(batch)
        adding += time.perf_counter() - began
    began = time.perf_counter()
    evaluator.result()
    scored = time.perf_counter()
    evaluator.artefacts()
    return evaluator, {"adding": adding, "scoring": scored - began, "writing": time.perf_counter() - scored}


def made_up(numbers):
    """A batch of the images with these numbers."""
    images = [image(number) for number in numbers]
    most = max(len(objects[0]) for _, objects in images)
    arrays = {
        "num_groundtruth": np.array([len(objects[0]) for _, objects in images], np.int32),
        "num_detections": np.full([len(images)], DETECTIONS, np.int32),
        "image_size": np.tile(np.array([HEIGHT, WIDTH], np.int32), (len(images), 1)),
        "source_id": np.array([str(number + 1).encode() for number in numbers], object),
        "index": np.array(numbers, np.int64),
    }
    names = ("boxes", "classes", "area", "is_crowd")
    for column, name in enumerate(names):
        columns = [np.resize(objects[column], (most, *objects[column].shape[1:])) for _, objects in images]
        arrays[f"groundtruth_{name}"] = np.stack(columns)
    for column, name in enumerate(("boxes", "classes", "scores")):
        arrays[f"detection_{name}"] = np.stack([detections[column] for detections, _ in images])
    return arrays


def image(number):
    """Reproducible (boxes, classes, scores) of detections and (boxes, classes, areas, crowds) of objects."""
    random = np.random.default_rng([0, number])
    few = random.integers(1, CATEGORIES + 1, 3)
    count = 1 + random.poisson(OBJECTS - 1)
    boxes, classes = anywhere(random, count), random.choice(few, count)
    which, near = random.integers(count, size=DETECTIONS), random.random(DETECTIONS) < 0.5
    sides = np.tile(boxes[which, 2:] - boxes[which, :2], 2)
    moved = boxes[which] + random.normal(0, 0.08, (DETECTIONS, 4)) * sides
    found = np.where(near[:, np.newaxis], moved, anywhere(random, DETECTIONS))
    found = np.concatenate([np.minimum(found[:, :2], found[:, 2:]), np.maximum(found[:, :2], found[:, 2:])], axis=1)
    labels = np.where(near, classes[which], random.integers(1, CATEGORIES + 1, DETECTIONS)).astype(np.int32)
    scores = np.sort(random.random(DETECTIONS).astype(np.float32))[::-1]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * HEIGHT * WIDTH * random.uniform(0.5, 1, count)
    crowds = (random.random(count) < 0.01).astype(np.int32)
    detections = (found.astype(np.float32), labels, scores)
    return detections, (boxes.astype(np.float32), classes.astype(np.int32), areas.astype(np.float32), crowds)


def anywhere(random, count):
    sides = np.exp(random.uniform(np.log(0.02), np.log(0.7), (count, 2)))
    corners = random.uniform(0, 1 - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def files(images):
    """The ground truth of a number of images, in the form of an annotation file."""
    annotations = []
    for number in range(images):
        for box, label, area, crowd in zip(*image(number)[1], strict=True):
            ymin, xmin, ymax, xmax = box.astype(np.float64).tolist()
            sides = (xmin * WIDTH, ymin * HEIGHT, (xmax - xmin) * WIDTH, (ymax - ymin) * HEIGHT)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": int(label),
                    "bbox": [round(side, 3) for side in sides],
                    "area": round(float(area), 3),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [{"id": number + 1, "height": HEIGHT, "width": WIDTH} for number in range(images)],
        "annotations": annotations,
        "categories": [{"id": number, "name": f"category {number}"} for number in range(1, CATEGORIES + 1)],
    }


if __name__ == "__main__":
    main()
