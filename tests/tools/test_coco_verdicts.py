"""The converter, the validator and the inspection agree on annotation files, whatever is wrong in them."""

import functools
import json
import os
import random
from collections import Counter

import pytest

from object_detection.class_table import class_table
from tests.object_detection.tiny_coco import annotation, content, image
from tests.utils.tiny_images import encoded, jpeg, pattern, write_files
from tools.convert.coco_plan import CocoOptions, SplitSource, plan_coco
from tools.convert.remarks import Remarks
from tools.inspect.stored_records import stored_objects
from tools.validate.coco_source import CocoSource
from tools.validate.decoded_image import decode_image
from tools.validate.findings import KINDS
from tools.validate.object_rules import ObjectRules
from utils.errors import RunError
from utils.images.image_files import load_rgb
from utils.records.example_proto import decode_example, encode_example

COUNT, PER_FILE = 1000, 3
PICTURES = {
    "a.jpg": jpeg(1),
    "b.jpg": jpeg(2, orientation=6),
    "c.png": encoded(pattern(24, 24)),
    "d.jpg": jpeg(4, orientation=3),
}
REFUSED = {"image_entry", "category", "annotation", "box_category", "box_format", "split_without_objects"}
"""Kinds of faults for which the converter refuses a file; a second entry of one file alone it only remarks."""
REMARKS = {  # beginnings of the converter's remarks on a box, and the validator's kinds for such a box
    "with a non-finite number": {"box_not_finite"},
    "without width or height": {"box_inverted", "box_empty"},
    "outside the image": {"box_outside"},
    "past the edge": {"box_outside"},
    "less than a pixel": {"box_tiny"},
    "too small": {"box_tiny"},
    "of another size": {"image_size"},
}
ODD_NUMBERS = (0, -1, 1, 0.5, 1e-30, -0.0, 1e39, 1e300, 10**400, 2**63, 36, 36.9, 24, float("nan"), float("inf"))
ODD_VALUES = (*ODD_NUMBERS, None, True, "", "1", "\ud800", "a\0", [], [[]], {}, [1, 2, 3, 4])
ODD_NAMES = (
    "../a.jpg",
    "/dev/zero",
    "a.jpg",
    "./a.jpg",
    "pipe",
    "out.jpg",
    "in.jpg",
    "gone.jpg",
    "sub/..",
    "\udc80",
    " ",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_files(root / "images", PICTURES)
    (root / "secret.jpg").write_bytes(jpeg(9))
    (root / "images" / "out.jpg").symlink_to("../secret.jpg")
    (root / "images" / "in.jpg").symlink_to("a.jpg")
    os.mkfifo(root / "images" / "pipe")
    return root / "images"


def sound(draw):
    """A file of a few images with boxes inside them."""
    names = draw.sample(sorted(PICTURES), PER_FILE)
    entries = [image(10 + n, name) for n, name in enumerate(names)]
    for entry in entries:
        if entry["file_name"] == "c.png":
            entry["width"] = 24
        if entry["file_name"] == "b.jpg" and draw.random() < 0.5:
            entry |= {"width": 24, "height": 36}
    boxes = []
    for entry in entries:
        for _ in range(draw.randrange(3)):
            box = [draw.randrange(12), draw.randrange(12), draw.choice([2, 4.5, 9]), draw.choice([2, 4.5, 9])]
            boxes.append(annotation(len(boxes), entry["id"], box, draw.choice([1, 3]), area=draw.choice([7, 7.5])))
    return content(entries, boxes)


def spoil(draw, coco):
    """Changes one value anywhere in a file."""
    key = draw.choice(["images", "annotations", "annotations", "annotations", "categories"])
    entries = coco[key]
    if not isinstance(entries, list) or not entries:
        return
    if draw.random() < 0.03:
        coco[key] = draw.choice([[], entries[:1], entries + entries[:1], None, {}, "x"])
        return
    entry = draw.choice(entries)
    if not isinstance(entry, dict):
        return
    name = draw.choice(sorted(entry))
    if name == "bbox" and draw.random() < 0.8 and isinstance(entry[name], list) and entry[name]:
        entry[name][draw.randrange(len(entry[name]))] = draw.choice(ODD_NUMBERS)
    elif name == "file_name":
        entry[name] = draw.choice(ODD_NAMES)
    elif draw.random() < 0.15:
        del entry[name]
    elif name == "id" or draw.random() < 0.1:
        entry[name] = draw.choice([*ODD_VALUES, *(one.get("id") for one in entries if isinstance(one, dict))])
    else:
        entry[name] = draw.choice(ODD_VALUES)


@functools.cache
def decoded(name):
    return load_rgb(PICTURES[name])


def converted(path, folder):
    """The reason for which the converter refuses a file or None, its remarks by their texts, and its records."""
    options = CocoOptions(
        splits={"train": SplitSource(image_dir=folder, annotations_file=path)}, output_dir=path.parent
    )
    try:
        plan = plan_coco(options)
    except RunError as error:
        return str(error), (), [], None
    remarks, records = Remarks(), []
    for shard in plan.shards["train"]:
        for record in shard.records:
            name = record.entry.file_name.removeprefix("./").replace("in.jpg", "a.jpg")
            if name in PICTURES:
                records.append(encode_example(record.features(decoded(name), remarks)))
    ids = plan.description.category_ids
    table = class_table(ids, plan.description.class_names, (), ids[-1], exact=False)
    return None, (*(one.what for one in remarks.as_tuple()), *plan.notes), records, table


def validated(path, folder):
    """The kinds of the validator's faults and remarks; None if it refuses the file as a whole."""
    try:
        source = CocoSource(path, folder)
    except RunError:
        return None
    images = [one for unit in source.units() for one in unit.scan()]
    return Counter(one.kind for one in (*source.findings, *(f for image in images for f in image.findings)))


def disagreement(conversion, kinds):
    """Describes a difference between the verdicts on a file, or returns None."""
    refusal, remarks, records, table = conversion
    if kinds is None:
        return None if refusal else "the validator alone refuses the file"
    faults = {kind for kind in kinds if KINDS[kind].severity == "fault"}
    repeated = sum("entry of" in one or "entries of" in one for one in remarks)
    if refusal:
        return None if faults & REFUSED else f"clean for the validator, but refused: {refusal}"
    if faults & REFUSED and not (faults & REFUSED == {"image_entry"} and repeated):
        return f"converted, though the validator finds {faults & REFUSED}"
    for beginning, named in REMARKS.items():
        is_said = any(one.startswith(beginning) for one in remarks)
        if is_said and not named & faults and not repeated:
            return f"the converter alone says {beginning!r}; the validator finds {faults}"
    explained = set().union(*(named for text, named in REMARKS.items() if any(one.startswith(text) for one in remarks)))
    silent = {kind for kind in faults if kind.startswith("box_")} - explained - {"box_duplicate"}
    if silent and "image_unreadable" not in faults:
        return f"the validator alone finds {silent}"
    return next(filter(None, (fault_of_record(record, table) for record in records)), None)


def fault_of_record(record, table):
    """Describes a converted record that the inspection refuses, by the rules of training, or that has other faults."""
    features = decode_example(record)
    try:
        stored_objects(features, table)
    except RunError as error:
        return f"the inspection refuses its own converter's record: {error}"
    checked = ObjectRules(table)(features, decode_image(features["image/encoded"][0], as_record=True))
    kinds = {kind for kind, _ in checked.notes if KINDS[kind].severity == "fault"}
    if kinds - {"box_tiny", "box_duplicate"}:
        return f"the validator finds {kinds} in a converted record"
    return None


def test_verdicts_on_generated_files_agree(folder, tmp_path):
    differences, verdicts = [], Counter()
    for seed in range(COUNT):
        draw = random.Random(seed)
        coco = sound(draw)
        for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
            spoil(draw, coco)
        path = tmp_path / "train.json"
        path.write_text(json.dumps(coco))
        conversion = converted(path, folder)
        verdicts[conversion[0] is None] += 1
        if found := disagreement(conversion, validated(path, folder)):
            differences.append(f"seed {seed}: {found}")
    assert not differences, "\n".join(differences[:10])
    assert min(verdicts[True], verdicts[False]) > COUNT // 10, "both verdicts must be frequent"
