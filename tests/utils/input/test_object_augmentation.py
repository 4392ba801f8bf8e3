"""The augmentation of detectors through both readers: the same pictures, whatever the processes and interruptions."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.mixing import DRAWS_TARGET
from object_detection.input.input_pipeline import detection_decoder
from tests.object_detection.detection_records import GOOD, TABLE, detection_record
from tests.utils.input_records import encode, options, quick_session, reader, write_files
from utils.input.augmentation_specs import DETECTION_STEPS, detection_steps
from utils.input.batching import Position, Shard
from utils.object_augment_config import ObjectAugmentConfig
from utils.weights.pretrained_config import MEAN_RGB

ALL = ObjectAugmentConfig(vertical_flip=True, rotate90=True, scale_jitter=(0.4, 1.8), min_visible=0.2, mosaic=1.0)
DECODER = detection_decoder(TABLE, train_crowds=False, augment=ALL)
STEPS = detection_steps(DETECTION_STEPS[:2], ALL, random_erasing=0.5)


def records(count=16):
    """Pictures without edges, whose pixels hardly depend on a decoder's rounding, and up to two objects."""
    boxes = [GOOD, (0.3, 0.2, 0.9, 0.8)]
    return [
        detection_record(boxes[: i % 3], encoded=encode(where(60 + i, 90 - i)), label=[3, 7][: i % 3])
        for i in range(count)
    ]


def where(height, width):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2, columns * 2, np.full((height, width), 60)], axis=-1).astype(np.uint8)


def examples(files, batch_size=8, shard=Shard(), start=Position(), name="tf.data", count=2):  # noqa: B008
    """Image, boxes and draws of each example of the first batches, by index."""
    given = options(image_size=16, border=MEAN_RGB, augmentation=STEPS, batch_size=batch_size)
    with tf.Graph().as_default():
        stream = reader(name).train_input(files, DECODER, given, shard, start)
        with quick_session() as session:
            session.run(stream.initializer)
            batches = [session.run(stream.batch) for _ in range(count)]
    return [
        {
            int(index): (image, boxes[np.any(boxes, axis=1)], draws)
            for index, image, boxes, draws in zip(
                batch.index, batch.images, batch.targets["groundtruth_boxes"], batch.targets[DRAWS_TARGET], strict=True
            )
        }
        for batch in batches
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("objects"), records(), files=2)


@pytest.fixture(scope="module")
def whole(files):
    return examples(files, count=3)


def test_a_resumed_run_and_two_processes_see_the_same_examples(files, whole):
    halves = [examples(files, 4, Shard(index=i, count=2)) for i in range(2)]
    later = examples(files, start=Position(epoch=1, example=0), count=1)
    middle = examples(files, start=Position(epoch=0, example=8), count=1)
    for step in range(2):
        together = halves[0][step] | halves[1][step]
        assert together.keys() == whole[step].keys()
        assert_same(together, whole[step])
    assert_same(later[0], whole[2])
    assert_same(middle[0], whole[1])
    assert any((whole[2][index][2] != (whole[0] | whole[1])[index][2]).any() for index in whole[2])


def assert_same(ours, theirs):
    for index, values in ours.items():
        for one, other in zip(values, theirs[index], strict=True):
            np.testing.assert_array_equal(one, other)


def test_both_readers_make_the_same_examples(files, whole):
    by_dali = examples(files, name="dali")
    for one, other in zip(whole, by_dali, strict=False):
        assert one.keys() == other.keys()
        for index, (image, boxes, draws) in one.items():
            np.testing.assert_allclose(other[index][0], image, atol=0.1)
            np.testing.assert_array_equal(other[index][1], boxes)
            np.testing.assert_array_equal(other[index][2], draws)
