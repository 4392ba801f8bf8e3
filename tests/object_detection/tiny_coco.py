"""A small data set in COCO's format, for the tests of readers of annotations and records."""

import copy
import json
from pathlib import Path

from tests.utils.tiny_images import jpeg, write_files

WIDTH, HEIGHT = 36, 24  # of every picture of tiny_images
CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]


def annotation(number, image_id, box, category=1, **further):
    """Returns an annotation of a box [x, y, width, height] in pixels."""
    return {"id": number, "image_id": image_id, "category_id": category, "bbox": box, "iscrowd": 0, **further}


def image(number, name, width=WIDTH, height=HEIGHT):
    """Returns the entry of a picture."""
    return {"id": number, "file_name": name, "width": width, "height": height}


def content(images, annotations, categories=None):
    """Returns the content of an annotation file."""
    return {
        "info": {"description": "tiny"},
        "images": images,
        "annotations": annotations,
        "categories": copy.deepcopy(CATEGORIES) if categories is None else categories,
    }


def write_split(root: Path, name: str, coco: dict, pictures: dict[str, bytes]) -> list[str]:
    """Writes ``root/name`` and ``root/name.json``; returns the converter's flags that name both."""
    (root / name).mkdir(parents=True)
    write_files(root / name, pictures)
    (root / f"{name}.json").write_text(json.dumps(coco), encoding="utf-8")
    folder, file = {
        "train": ("train_image_dir", "train_annotations_file"),
        "val": ("val_image_dir", "val_annotations_file"),
        "test": ("test_image_dir", "testdev_annotations_file"),
    }[name]
    return [f"--{folder}", str(root / name), f"--{file}", str(root / f"{name}.json")]


def tiny_split(root: Path, name: str = "train", count: int = 6) -> list[str]:
    """Writes a split of ``count`` pictures; picture i has i % 3 boxes, so that some have none."""
    images = [image(100 + index, f"{index}.jpg") for index in range(count)]
    boxes = [
        annotation(10 * index + number, 100 + index, [number, index, 4.5, 6], (1, 3)[number], area=7.25 + number)
        for index in range(count)
        for number in range(index % 3)
    ]
    pictures = {f"{index}.jpg": jpeg(index + len(name)) for index in range(count)}
    return write_split(root, name, content(images, boxes), pictures)
