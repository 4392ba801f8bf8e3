"""Detection records with every kind of fault, shared by the tests of readers and checkers."""

from pathlib import Path

import tensorflow as tf

from object_detection.class_table import class_table
from tests.utils.input_records import encode, noise

KEYS = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
GOOD = (0.25, 0.25, 0.75, 0.5)
TABLE = class_table((1, 3, 7), ("cat", "dog", "bird"), ("/m/cat", "/m/dog", ""), 7, exact=False)
EXACT = class_table((1, 3, 7), ("cat", "dog", "bird"), ("/m/cat", "/m/dog", ""), 7, exact=True)


def feature(values):
    """Returns a feature of the type of its values."""
    values = list(values)
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if values and isinstance(values[0], str | bytes):
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values)) if values else tf.train.Feature()


def detection_record(boxes=(), *, encoded=None, source_id="42", **objects):
    """Serializes a record; ``objects`` are lists by the end of their key: text, label, is_crowd, area, weight."""
    places = {"text": "class/text", "label": "class/label"}
    features = {
        "image/encoded": feature([encode(noise(1)) if encoded is None else encoded]),
        "image/source_id": feature([source_id]),
        **{key: feature([float(box[side]) for box in boxes]) for side, key in enumerate(KEYS)},
        **{f"image/object/{places.get(key, key)}": feature(values) for key, values in objects.items()},
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path: Path, records) -> Path:
    """Writes one record file."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


NAN, INF = float("nan"), float("inf")
SOUND = {
    "by label": detection_record([GOOD, GOOD], label=[3, 7]),
    "by name": detection_record([GOOD], text=["bird"]),
    "by alias": detection_record([GOOD], text=["/m/dog"]),
    "by both": detection_record([GOOD], text=["dog"], label=[3]),
    "by alias and label": detection_record([GOOD], text=["/m/cat"], label=[1]),
    "by label beside an empty name": detection_record([GOOD], text=[""], label=[3]),
    "by name beside an empty label": detection_record([GOOD], text=["dog"], label=[0]),
    "no objects": detection_record(),
    "partly outside": detection_record([(-0.5, -0.5, 0.1, 1.5)], label=[3]),
    "the whole image": detection_record([(0.0, 0.0, 1.0, 1.0)], label=[3]),
}
# Records with a fault, and a part of the message about it
FAULTS = {
    "no category": (detection_record([GOOD]), "object 0: has neither a class name"),
    "an empty name": (detection_record([GOOD], text=[""]), "object 0: has neither a class name"),
    "an unknown name": (detection_record([GOOD, GOOD], text=["cat", "lion"]), "object 1: is of the class 'lion'"),
    "an unknown label": (detection_record([GOOD], label=[2]), "object 0: has the category id 2, which the label map"),
    "a label that only fits in 64 bits": (
        detection_record([GOOD], label=[2**32 + 1]),
        "object 0: has the category id 4294967297, which the label map",
    ),
    "a negative label": (detection_record([GOOD], label=[-3]), "object 0: has neither a class name"),
    "another name": (
        detection_record([GOOD], text=["dog"], label=[1]),
        "object 0: is of the class 'dog' with the category id 1; in the label map that class has id 3",
    ),
    "an unknown name beside a label": (
        detection_record([GOOD], text=["lion"], label=[1]),
        "object 0: is of the class 'lion', which the label map does not have",
    ),
    "bytes that are no text": (detection_record([GOOD], text=[b"caf\xe9"]), "is of the class 'caf\ufffd'"),
    "not a number": (detection_record([(0.1, 0.1, NAN, 0.5)], label=[3]), "[0.1, 0.1, nan, 0.5] is not finite"),
    "infinite": (detection_record([GOOD, (0.0, 0.0, INF, 1.0)], label=[3, 3]), "object 1: its box [ymin, xmin, ymax"),
    "upside down": (
        detection_record([(0.5, 0.1, 0.25, 0.75)], label=[3]),
        "object 0: its box [ymin, xmin, ymax, xmax] [0.5, 0.1, 0.25, 0.75] has no area inside the image",
    ),
    "left of right": (detection_record([(0.1, 0.5, 0.2, 0.25)], label=[3]), "has no area inside the image"),
    "a line": (detection_record([(0.1, 0.5, 0.2, 0.5)], label=[3]), "has no area inside the image"),
    "outside": (detection_record([(1.0, 0.1, 1.5, 0.2)], label=[3]), "has no area inside the image"),
    "in pixels, outside": (detection_record([(10.0, 10.0, 20.0, 20.0)], label=[3]), "has no area inside the image"),
    "a crowd of an unknown category": (
        detection_record([GOOD], label=[2], is_crowd=[1]),
        "object 0: has the category id 2",
    ),
}
# Records whose lists differ in length, and a part of the message
UNEVEN = {
    "a side of boxes": (detection_record([GOOD], label=[1], **{"bbox/ymin": [0.1, 0.2]}), "bbox/ymin has 2"),
    "names": (detection_record([GOOD, GOOD], text=["lion"], label=[3, 7]), "class/text has 1"),
    "labels": (detection_record([GOOD, GOOD], label=[3]), "class/label has 1"),
    "crowds": (detection_record([GOOD, GOOD], label=[1, 3], is_crowd=[1]), "is_crowd has 1"),
    "areas": (detection_record([GOOD], label=[1], area=[3.0, 4.0]), "area has 2"),
    "weights": (detection_record([GOOD, GOOD], label=[1, 3], weight=[0.5]), "weight has 1"),
    "objects without boxes": (detection_record([], label=[1]), "class/label has 1"),
}
