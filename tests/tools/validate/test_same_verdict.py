"""The validator, inspection and the inputs of training and evaluation agree on thousands of generated records."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection.input.input_pipeline import detection_decoder
from object_detection.records.object_records import (
    AREA_KEY,
    CROWD_KEY,
    LABEL_KEY,
    SOURCE_KEY,
    TEXT_KEY,
    WEIGHT_KEY,
    fault_in,
)
from tests.object_detection.detection_records import TABLE
from tests.utils.input_records import encode, noise, options, quick_session
from tests.utils.tiny_images import jpeg
from tools.validate.findings import KINDS, REMARK, Place
from tools.validate.label_rules import LabelRules
from tools.validate.object_rules import ObjectRules
from tools.validate.scan import RecordUnit
from utils.input.labelled_images import LABELLED_IMAGES
from utils.records import label_records
from utils.records.label_records import LabelRange
from utils.records.record_rules import BOX_KEYS, IMAGE_KEY, why_unusable
from utils.records.tfrecord_file import framed, locate_records

RECORDS = 1500
CLASSES = ("cat", "dog", "bird")
PNG, JPEG = encode(noise(1)), jpeg(1)


def images():
    """Encoded images of every kind that a record may hold or not."""
    grey, colors = Image.fromarray(noise(3)[..., 0]), Image.fromarray(noise(4))
    palette, deep = colors.convert("P"), Image.fromarray(np.arange(480, dtype=np.uint16).reshape(20, 24) * 100)
    kinds = [(image, "PNG", {}) for image in (grey, colors, palette, deep, colors.convert("RGBA"), grey.convert("1"))]
    kinds += [(grey, "JPEG", {}), (colors, "JPEG", {"progressive": True}), (colors.convert("CMYK"), "JPEG", {})]
    kinds += [(palette, "GIF", {}), (palette, "GIF", {"save_all": True, "append_images": [grey.convert("P")]})]
    kinds += [(colors, kind, {}) for kind in ("BMP", "WEBP", "TIFF")]
    return [saved(*kind) for kind in kinds]


def saved(image, kind, more):
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


IMAGES = [PNG, JPEG, *images(), b"", b"text that is no image", JPEG[:-2], PNG[:-8], PNG[:-1] + b"x", JPEG + b"\0\0"]


class Chance(random.Random):
    """Random numbers of records, of which some are odd in one or more ways."""

    odd = False

    def next_record(self):
        self.odd = self.random() < 0.6

    def oddly(self, probability):
        return self.odd and self.random() < probability


def feature(chance, values):
    """A feature of values; in odd records now and then of another kind, empty, or with a value too many or too few."""
    values = list(values)
    if chance.oddly(0.05):
        values = chance.choice([values[:-1], [*values, *values[-1:]], [], values * 2])
    kind = next((type(value) for value in values), chance.choice([int, float, bytes]) if chance.odd else None)
    if chance.oddly(0.05):
        kind = chance.choice([int, float, bytes])
    found = tf.train.Feature()
    if kind is None or chance.oddly(0.02):
        return found
    filled = {bytes: found.bytes_list, float: found.float_list, int: found.int64_list}[kind]
    filled.SetInParent()
    filled.value.extend(value if type(value) is kind else {bytes: b"3", float: 0.5, int: 1}[kind] for value in values)
    return found


def record(chance, features):
    """Serializes features; odd records may lack some, and their bytes may be damaged."""
    kept = {key: feature(chance, values) for key, values in features.items() if not chance.oddly(0.02)}
    example = tf.train.Example(features=tf.train.Features(feature=kept))
    # In an order that all processes share, so that the same bytes are spoiled: none of a list of floats that then
    # claims 2 GB or more, which ends the process, because TensorFlow 2.21 copies a negative number of bytes.
    data = example.SerializeToString(deterministic=True)
    if chance.oddly(0.2):
        spoiled = bytearray(data)
        spoiled[chance.randrange(min(len(data), 400))] = chance.randrange(256)
        data = bytes(spoiled)
    return data[: chance.randrange(len(data))] if chance.oddly(0.03) else data


def image(chance):
    data = chance.choice(IMAGES) if chance.oddly(0.4) else PNG
    if data and chance.oddly(0.1):
        spoiled = bytearray(data)
        spoiled[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        data = bytes(spoiled)
    return data


def labelled(chance):
    chance.next_record()
    count = chance.choice([0, 0, 1, 2])
    return record(
        chance,
        {
            IMAGE_KEY: [image(chance)],
            label_records.LABEL_KEY: [chance.choice([0, 4, -1, 2**40] if chance.oddly(0.1) else [1, 2, 3])],
            **{key: [chance.random() for _ in range(count)] for key in BOX_KEYS},
        },
    )


SIDES = [0.1, 0.2, 0.6, 0.9, 0.0, 1.0, 1.0, -0.5, 1.5, 1e30, float("nan"), float("inf")]


def with_objects(chance):
    chance.next_record()
    count = chance.choice([0, 1, 1, 2, 3])
    places = [0.1 + 0.2 * number for number in range(count)]
    strange = chance.oddly(0.2)

    def sides(shift):
        return [chance.choice(SIDES) if strange else place + shift for place in places]

    def several(usual, probability, *others):
        return [chance.choice(others) if chance.oddly(probability) else usual for _ in range(count)]

    features = {
        IMAGE_KEY: [image(chance)],
        SOURCE_KEY: [chance.choice([b"1", b"", b"a"])],
        BOX_KEYS[0]: sides(0.0),
        BOX_KEYS[1]: sides(0.05),
        BOX_KEYS[2]: sides(0.2),
        BOX_KEYS[3]: sides(0.3),
        TEXT_KEY: several(b"dog", 0.1, b"cat", b"/m/dog", b"lion", b""),
        LABEL_KEY: several(3, 0.1, 0, 1, 2, -1, 2**33),
        CROWD_KEY: several(0, 0.5, 1),
        AREA_KEY: several(1.0, 0.1, float("nan"), float("inf"), -1.0, 0.0),
        WEIGHT_KEY: several(1.0, 0.1, float("nan"), -1.0, 0.0, 2.0),
    }
    for key in (CROWD_KEY, AREA_KEY, WEIGHT_KEY, chance.choice([TEXT_KEY, LABEL_KEY])):
        if chance.random() < 0.3:
            del features[key]
    return record(chance, features)


@pytest.fixture(scope="module", params=["classification", "detection"])
def case(request):
    """The records of a task, its rules in the validator, its input decoders, and the faults that runs name."""
    chance = Chance(8)
    if request.param == "classification":
        made = [labelled(chance) for _ in range(RECORDS)]
        return made, LabelRules(names=CLASSES), LABELLED_IMAGES, LabelRange(offset=1, count=3).fault_in
    made = [with_objects(chance) for _ in range(RECORDS)]
    decoder = detection_decoder(TABLE, train_crowds=False)
    return made, ObjectRules(TABLE), decoder, lambda features: fault_in(features, TABLE)


def accepted(decoder, records):
    """Returns whether training and evaluation take each record."""
    given = options(label_offset=1, num_classes=3)
    verdicts = []
    with tf.Graph().as_default(), quick_session() as session:
        serialized = tf.compat.v1.placeholder(tf.string, [])
        train = decoder.train(serialized, tf.constant([3, 4], tf.int64), given)
        reads = [session.make_callable(e, [serialized]) for e in (train, decoder.evaluate(serialized, given))]
        for data in records:
            verdicts.append(tuple(taken(read, data) for read in reads))
    return verdicts


def taken(read, data):
    try:
        return bool(read(data).valid)
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        return False


def findings(rules, records, file: Path):
    """The kinds and texts of the faults that the validator finds in each record."""
    file.write_bytes(b"".join(map(framed, records)))
    places = [(number, *place) for number, place in enumerate(locate_records(file)[0])]
    scanned = RecordUnit(path=file, place=Place("data", "train", file.name), records=tuple(places), rules=rules).scan()
    return [[(f.kind, f.text) for f in one.findings if KINDS[f.kind].severity != REMARK] for one in scanned]


STRICTER = {"image_size", "box_tiny", "box_outside", "box_duplicate", "image_unreadable", "record_content"}
"""Faults that a run may tolerate: it decodes the rest of some damaged files."""


def test_a_record_is_refused_by_the_run_exactly_if_the_validator_names_it(case, tmp_path):
    records, rules, decoder, run_fault = case
    named = findings(rules, records, tmp_path / "records")
    both = list(zip(records, accepted(decoder, records), named, strict=True))
    missed = [data for data, verdict, faults in both if not all(verdict) and not faults]
    assert not missed, (why_unusable(missed[0], run_fault), missed[0])
    strict = [faults for _, verdict, faults in both if all(verdict) and not {kind for kind, _ in faults} <= STRICTER]
    assert not strict
    assert {all(verdict) for _, verdict, _ in both} == {True, False}
    assert sum(not faults for faults in named) > RECORDS / 5


def test_the_run_gives_the_reason_of_the_validator(case, tmp_path):
    records, rules, decoder, run_fault = case
    compared = 0
    for data, verdict, faults in zip(
        records, accepted(decoder, records), findings(rules, records, tmp_path / "records"), strict=True
    ):
        if not any(verdict) and not any(kind.startswith("box_") for kind, _ in faults):  # boxes are shown in pixels
            reason = why_unusable(data, run_fault)
            assert any(reason.endswith(text) for _, text in faults), (reason, faults)
            compared += 1
    assert compared > RECORDS / 10
