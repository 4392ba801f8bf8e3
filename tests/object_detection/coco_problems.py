"""Synthetic data sets with detections, as COCO's JSON and as batches of a network."""

import contextlib
import io

import numpy as np

SIDES_PX = [(480, 640), (640, 427), (333, 500), (1200, 96)]  # height, width


def problem(images, seed=0, *, categories=6, objects=4, detections=20, crowds=0.1):
    """Makes an annotation file and a list of detections, some of them right; equal scores are frequent."""
    random = np.random.default_rng(seed)
    ids = (random.choice(10 * images, images, replace=False) + 1).tolist()
    groundtruth = {"images": [], "annotations": [], "categories": []}
    groundtruth["categories"] = [{"id": 2 * n + 1, "name": f"category {n}"} for n in range(categories)]
    results = []
    for image_id in ids:
        height, width = SIDES_PX[random.integers(len(SIDES_PX))]
        groundtruth["images"].append({"id": image_id, "height": height, "width": width})
        mine = []
        for _ in range(random.poisson(objects)):
            box = random_box(random, height, width)
            mine.append((box, int(random.integers(categories))))
            groundtruth["annotations"].append(
                {
                    "id": len(groundtruth["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 2 * mine[-1][1] + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3] * random.uniform(0.5, 1.0), 2),
                    "iscrowd": int(random.random() < crowds),
                }
            )
        results += [random_result(random, image_id, (height, width), mine, categories) for _ in range(detections)]
    return groundtruth, results


def random_box(random, height, width):
    """Draws a box ``[x, y, width, height]`` in pixels, of any size, inside the image."""
    sides = np.exp(random.uniform(np.log(6), np.log([width, height])))
    corner = random.uniform(0, np.array([width, height]) - sides)
    return [round(value, 2) for value in (*corner.tolist(), *sides.tolist())]


def random_result(random, image_id, size, objects, categories):
    """Draws a detection near one of the image's objects, or anywhere."""
    box, category = random_box(random, *size), int(random.integers(categories))
    if objects and random.random() < 0.5:
        near, category = objects[random.integers(len(objects))]
        x, y, width, height = near
        shift = random.normal(0, 0.1, 4) * [width, height, width, height]
        box = [round(value, 2) for value in (np.array([x, y, width, height]) + shift).tolist()]
        box[2:] = [max(value, 0.5) for value in box[2:]]
    score = round(random.uniform(0.01, 1), 2)
    return {"image_id": image_id, "category_id": 2 * category + 1, "bbox": box, "score": score}


def plain_pycocotools(groundtruth, results):
    """Evaluates with pycocotools; returns the evaluation and its printed output."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = groundtruth
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluation.summarize()
    return evaluation, printed.getvalue()


def batches(groundtruth, results, sizes, *, order=None):
    """Splits the data set into batches of the given sizes for ``CocoEvaluator.update``, detections best first."""
    images = groundtruth["images"]
    order = range(len(images)) if order is None else order
    rows = [(index, images[index]) for index in order]
    start = 0
    for size in sizes:
        yield _batch(rows[start : start + size], groundtruth["annotations"], results)
        start += size
    assert start >= len(rows)


def _batch(rows, annotations, results):
    truth = [[a for a in annotations if a["image_id"] == image["id"]] for _, image in rows]
    found = [[r for r in results if r["image_id"] == image["id"]] for _, image in rows]
    found = [sorted(mine, key=lambda result: -result["score"]) for mine in found]
    sizes = np.array([(image["height"], image["width"]) for _, image in rows], np.int32)
    return {
        "detection_boxes": _padded([[r["bbox"] for r in mine] for mine in found], 3, (4,), sizes),
        "detection_scores": _padded([[r["score"] for r in mine] for mine in found], 3),
        "detection_classes": _padded([[r["category_id"] for r in mine] for mine in found], 3).astype(np.int32),
        "num_detections": np.array([len(mine) for mine in found], np.int32),
        "groundtruth_boxes": _padded([[a["bbox"] for a in mine] for mine in truth], 2, (4,), sizes),
        "groundtruth_classes": _padded([[a["category_id"] for a in mine] for mine in truth], 2).astype(np.int32),
        "groundtruth_area": _padded([[a["area"] for a in mine] for mine in truth], 2),
        "groundtruth_is_crowd": _padded([[a["iscrowd"] for a in mine] for mine in truth], 2).astype(np.int32),
        "num_groundtruth": np.array([len(mine) for mine in truth], np.int32),
        "image_size": sizes,
        "source_id": np.array([str(image["id"]).encode() for _, image in rows], object),
        "index": np.array([index for index, _ in rows], np.int64),
    }


def _padded(lists, spare, shape=(), sizes=None):
    """Pads lists with sevens to ``[N, longest + spare, *shape]`` float32; boxes become relative."""
    array = np.full([len(lists), max(map(len, lists)) + spare, *shape], 7, np.float32)
    for row, values in enumerate(lists):
        values = np.array(values, np.float64).reshape(-1, *shape)
        if sizes is not None:
            height, width = sizes[row]
            x, y, box_width, box_height = values.T
            corners = [y / height, x / width, (y + box_height) / height, (x + box_width) / width]
            values = np.stack(corners, axis=1)
        array[row, : len(values)] = values
    return array
