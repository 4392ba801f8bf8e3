"""DALI's images against TensorFlow's, and failures of DALI."""

import itertools
import os
import re
import subprocess
import sys
import threading
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from object_detection.input.input_pipeline import detection_decoder
from runtime.data_errors import readable_data_errors
from tests.object_detection.detection_records import GOOD, TABLE, detection_record
from tests.utils.input_records import (
    coordinates,
    encode,
    fetch,
    noise,
    options,
    quick_session,
    reader,
    record,
    write_files,
)
from utils import dali_utils
from utils.dali_utils import DaliReader
from utils.data_utils import TensorFlowReader
from utils.errors import RunError, UsageError
from utils.image_sizes import Sides
from utils.input.augmentation_specs import ColorSpec, CropSpec, FlipSpec, detection_steps
from utils.input.batching import STATUS_UNDECODABLE, Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES
from utils.object_augment_config import ObjectAugmentConfig
from utils.records.split_files import load_split
from utils.weights.pretrained_config import MEAN_RGB

GREY_LEVELS = 2  # allowed mean difference between evaluation images


@pytest.fixture
def dali():
    return reader("dali")


def smooth(height, width):
    """A picture without edges, which all decoders decode equally."""
    return np.stack([*np.mgrid[:height, :width], np.full((height, width), 60)], axis=-1).astype(np.uint8)


def evaluate(given, files, **changes):
    return fetch(lambda: given.eval_input(files, LABELLED_IMAGES, options(**changes), Shard()))


def of_format(kind):
    pixels = smooth(40, 60)
    if kind == "grey JPEG":
        return encode(pixels[:, :, 0], "JPEG", quality=95)
    if kind == "CMYK JPEG":
        return encode(np.concatenate([pixels, pixels[:, :, :1]], axis=2), "JPEG", quality=95)
    name, _, how = kind.partition(" ")
    more = {"progressive": {"progressive": True}, "4:4:4": {"subsampling": 0}, "": {}}[how]
    return encode(pixels, name, **({"quality": 95} | more if name == "JPEG" else {}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "JPEG progressive", "JPEG 4:4:4", "grey JPEG", "CMYK JPEG", "PNG", "GIF"])
def test_all_that_tensorflow_decodes_dali_shows_alike(dali, tmp_path, kind):
    files = write_files(tmp_path, [record(of_format(kind))] * 2)
    (ours,), (theirs,) = (evaluate(given, files, batch_size=2, image_size=32) for given in (dali, TensorFlowReader()))
    np.testing.assert_array_equal(ours.status, theirs.status)
    assert (ours.status == 0).all()
    assert np.abs(ours.images - theirs.images).mean() < GREY_LEVELS


def test_a_jpeg_that_says_it_lies_on_its_side_stays_as_tensorflow_sees_it(dali, tmp_path):
    from PIL import Image

    orientation = Image.Exif()
    orientation[0x0112] = 6
    files = write_files(tmp_path, [record(encode(smooth(40, 60), "JPEG", quality=95, exif=orientation))])
    (ours,), (theirs,) = (evaluate(given, files, batch_size=1, image_size=32) for given in (dali, TensorFlowReader()))
    assert np.abs(ours.images - theirs.images).mean() < GREY_LEVELS


def test_evaluation_images_of_photographs_are_within_two_grey_levels(dali, sample_data, tmp_path):
    jpegs = sorted((sample_data / "clothing" / "validation").rglob("*.jpg"))[::6]
    assert len(jpegs) >= 40
    files = write_files(tmp_path, [record(path.read_bytes()) for path in jpegs])
    pairs = (evaluate(given, files, batch_size=16, image_size=224) for given in (dali, TensorFlowReader()))
    apart = [np.abs(a.images - b.images).mean(axis=(1, 2, 3)) for a, b in zip(*pairs, strict=True)]
    assert np.concatenate(apart).max() < GREY_LEVELS
    assert np.mean(apart) < 0.5


def test_random_crops_are_the_same_windows_mirrored_alike(dali, tmp_path):
    pixels = coordinates(90, 120)
    boxes = [(0.1, 0.1, 0.4, 0.5)]
    files = write_files(tmp_path, [record(encode(pixels), 1, boxes if i % 2 else ()) for i in range(24)])

    def corners(given):
        batches = fetch(
            lambda: given.train_input(files, LABELLED_IMAGES, options(image_size=16), Shard(), Position()),
            24,
        )
        images = np.concatenate([batch.images for batch in batches])
        return images[:, [0, 0, -1, -1], [0, -1, 0, -1], :2]

    ours, theirs = corners(dali), corners(TensorFlowReader())
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    mirrored = (ours[:, 0, 1] > ours[:, 1, 1]).mean()
    assert 0.3 < mirrored < 0.7
    heights = np.ptp(ours[:, :, 0], axis=1)
    assert heights.min() < 45
    assert heights.max() > 75


# Detection

AUGMENTATIONS = {
    "as it is": (),
    "flips and crops": (FlipSpec(), CropSpec(area=(0.3, 0.9)), FlipSpec(), CropSpec(skip_probability=0.5)),
    "colors": (FlipSpec(), CropSpec(), ColorSpec()),
}


def objects(given, files, make, count):
    """All values of ``count`` batches of detection, the images first."""
    decoder = detection_decoder(TABLE, train_crowds=False)
    with tf.Graph().as_default():
        stream = make(given, files, decoder)
        parts = {"images": stream.batch.images, "status": stream.batch.status, "index": stream.batch.index}
        with quick_session() as session:
            session.run(stream.initializer)
            return [session.run(parts | stream.batch.targets) for _ in range(count)]


def assert_alike(ours, theirs, grey_levels):
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(one.pop("images"), other.pop("images"), atol=grey_levels)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Detection records with PNGs; one is broken in the middle, one has an object without a class."""
    broken = bytearray(encode(smooth(40, 60)))
    broken[len(broken) // 2] ^= 255
    boxes = [GOOD, (0.3, 0.2, 0.9, 0.8), (0.0, 0.0, 1.0, 1.0)]
    records = [
        detection_record(boxes[: 1 + i % 3], encoded=encode(smooth(30 + i, 50 - i)), label=[3, 7, 1][: 1 + i % 3])
        for i in range(8)
    ]
    records += [detection_record([GOOD], encoded=bytes(broken), label=[3]), detection_record([GOOD], label=[2])]
    return write_files(tmp_path_factory.mktemp("scenes"), records, files=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_training_of_detection_sees_the_same_images_and_objects(dali, scenes, name):
    how = options(image_size=16, augmentation=AUGMENTATIONS[name])

    def make(given, files, decoder):
        return given.train_input(files, decoder, how, Shard(), Position())

    ours, theirs = (objects(given, scenes, make, 6) for given in (dali, TensorFlowReader()))
    assert {status for batch in ours for status in batch["status"]} == {0, 2, 3}
    assert_alike(ours, theirs, 0.1)


@pytest.mark.slow
def test_evaluation_of_detection_sees_the_same_images_and_objects(dali, scenes):
    def make(given, files, decoder):
        return given.eval_input(files, decoder, options(image_size=16), Shard())

    ours, theirs = (objects(given, scenes, make, 3) for given in (dali, TensorFlowReader()))
    assert_alike(ours, theirs, 0.1)


@pytest.mark.parametrize(
    ("training", "scale_jitter"),
    [(True, None), (True, (0.4, 1.6)), (False, None)],
    ids=["training", "scaled", "evaluation"],
)
def test_pictures_in_proportion_have_the_same_borders(dali, scenes, training, scale_jitter):
    size, augment = Sides(16, 40), ObjectAugmentConfig(scale_jitter=scale_jitter)
    steps = detection_steps(AUGMENTATIONS["flips and crops"], augment, random_erasing=0.0, fit=size)
    how = options(image_size=size, augmentation=steps, border=MEAN_RGB)

    def make(given, files, decoder):
        if training:
            return given.train_input(files, decoder, how, Shard(), Position())
        return given.eval_input(files, decoder, how, Shard())

    ours, theirs = (objects(given, scenes, make, 3) for given in (dali, TensorFlowReader()))
    borders = [(batch["images"] == np.float32(MEAN_RGB)).all(axis=3) for batch in theirs]
    assert np.mean([border.any(axis=(1, 2)) for border in borders]) > 0.5
    for batch, border in zip(ours, borders, strict=True):
        np.testing.assert_array_equal((batch["images"] == np.float32(MEAN_RGB)).all(axis=3), border)
    assert_alike(ours, theirs, 0.1)


# Failures


def test_without_dali_the_flag_says_how_to_install_it():
    with (
        mock.patch.dict(sys.modules, {"nvidia": None, "nvidia.dali": None}),
        pytest.raises(UsageError, match=r"NVIDIA DALI cannot be imported .*pip install -r requirements/dali.txt"),
    ):
        DaliReader(None)


class Stub:
    """A fake DALI that fails on request, records its calls, and calls ``begun`` when it is to decode a batch."""

    def __init__(self, error=None):
        self.error = error
        self.begun = lambda: None
        self.calls = mock.MagicMock()
        self.calls.Pipeline.return_value.run = self.run

    def run(self, **inputs):
        self.begun()
        if self.error is not None:
            raise self.error
        batch, images = mock.MagicMock(), dali_utils.aligned_images((len(inputs["encoded"]), 8, 8, 3))
        images[:] = 6
        batch.as_tensor.return_value = mock.Mock(__dlpack__=images.__dlpack__)
        batch.as_cpu.return_value.as_tensor.return_value = images + 1
        return (batch,)


@pytest.fixture
def stub(monkeypatch):
    stub = Stub()
    parts = {"nvidia.dali": stub.calls, "nvidia.dali.fn": stub.calls.fn, "nvidia.dali.types": stub.calls.types}
    monkeypatch.setattr(dali_utils, "_import", parts.__getitem__)
    return stub


def test_a_failure_that_is_no_images_ends_the_run_with_a_sentence(stub, tmp_path):
    stub.error = RuntimeError("CUDA driver is too old\n for this")
    files = write_files(tmp_path, [record(encode(noise(0)))] * 4)
    with (
        pytest.raises(RunError, match=r"^--dali: DALI failed: CUDA driver is too old for this; leave out the flag"),
        readable_data_errors({}, lambda: "after step 3"),
    ):
        evaluate(DaliReader(None), files)


DECODER = """Error in MIXED operator `nvidia.dali.fn.decoders.image_slice`,
which was used in the pipeline definition with the following traceback:
  File "/home/cudaError/utils/dali_utils.py"
encountered:
"""
UNDECODABLE = DECODER + "nvImageCodec failed to decode: nvjpeg_cuda_decoder"


@pytest.mark.parametrize(
    "fault",
    [
        "malloc_resource.h: Can't allocate 154140672 bytes on device 0.",
        "CUDA runtime API error cudaErrorIllegalAddress (700): an illegal memory access was encountered",
        "CUDA driver API error CUDA_ERROR_OUT_OF_MEMORY (2): out of memory",
        "The cropping window [30..129] is not valid",
    ],
)
def test_a_full_or_broken_gpu_is_not_blamed_on_the_images(stub, tmp_path, fault):
    stub.error = RuntimeError(DECODER + fault)
    files = write_files(tmp_path, [record(encode(noise(0)))] * 4)
    with (
        pytest.raises(RunError, match=f"^--dali: DALI failed: .*{re.escape(fault)}; leave out the flag"),
        readable_data_errors({}, lambda: "after step 3"),
    ):
        evaluate(DaliReader(None, 3), files)


def test_an_image_that_the_decoder_refuses_is_bad_data(stub, tmp_path):
    stub.error = RuntimeError(UNDECODABLE)
    (batch,) = evaluate(DaliReader(None, 3), write_files(tmp_path, [record(encode(noise(0)))] * 4))
    assert (batch.status == STATUS_UNDECODABLE).all()


@pytest.mark.parametrize("device", [None, "/CPU:0"])
def test_on_a_gpu_it_decodes_there_and_the_images_stay_unless_the_network_takes_them_from_the_host(
    stub, tmp_path, device
):
    files = write_files(tmp_path, [record(encode(noise(0)))] * 4)
    (batch,) = evaluate(DaliReader(None, 3, device), files)
    assert (batch.images == (7 if device is None else 6)).all()
    assert stub.calls.Pipeline.call_args.args[2] == 3
    assert stub.calls.fn.decoders.image_slice.call_args.kwargs["device"] == "mixed"


def test_without_a_gpu_it_decodes_on_the_cpu(stub):
    dali_utils._Engine(options(), None)._build()
    assert stub.calls.Pipeline.call_args.args[2] is None
    assert stub.calls.fn.decoders.image_slice.call_args.kwargs["device"] == "cpu"


def test_two_pipelines_decode_at_once(stub, tmp_path):
    stub.begun = threading.Barrier(2, timeout=20).wait  # fails unless a second batch is decoded meanwhile
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(16)])
    batches = evaluate(DaliReader(None, 3), files)
    np.testing.assert_array_equal([batch.index for batch in batches], np.arange(16).reshape(4, 4))
    assert stub.calls.Pipeline.call_count == 2


def test_tensorflow_takes_over_the_decoded_images_without_a_copy():
    addresses = []

    def note(images):
        addresses.append(images.ctypes.data)
        return images

    with tf.Graph().as_default(), quick_session() as session:
        made = tf.numpy_function(lambda: note(dali_utils.aligned_images((3, 8, 8, 3))), [], tf.float32)
        session.run(tf.numpy_function(lambda images: note(images)[0, 0, 0, 0], [made], tf.float32))
    assert addresses[0] == addresses[1]


def test_a_wrong_index_of_the_right_length_ends_the_input_with_data_loss(dali, tmp_path):
    """An index of other records with the same total size points into the middle of a record."""
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(4)])
    folder = tmp_path / "idx"
    folder.mkdir()
    size = (tmp_path / "train-00000-of-00001").stat().st_size
    cuts = [0, 100, 200, 300, size]
    lines = [f"{begin} {end - begin}\n" for begin, end in itertools.pairwise(cuts)]
    (folder / "train-00000-of-00001").write_text("".join(lines))
    with pytest.raises(tf.errors.DataLossError):
        evaluate(DaliReader(str(folder)), files)


# Whole inputs in their own processes


@pytest.mark.slow
def test_batches_are_made_ahead_under_deterministic_ops(dali, tmp_path):
    """TensorFlow makes the whole pipeline sequential if it contains an unknown stateful op."""
    from tests.utils.test_input_determinism import ROOT

    big = encode(np.kron(noise(1), np.ones((24, 24, 1), np.uint8)), "JPEG")
    write_files(tmp_path, [record(big)] * 24)
    environment = os.environ | {"TF_DETERMINISTIC_OPS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.utils.test_dali_utils", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=400)
    assert float(done.stdout.split()[-1]) < 0.01  # making a batch takes more than 0.05 s


def shortest_wait(folder):
    """The shortest wait for a batch after a pause."""
    import time

    waits = []
    with tf.Graph().as_default():
        files = load_split(folder, "train")
        how = options(batch_size=24)
        stream = DaliReader(None).train_input(files, LABELLED_IMAGES, how, Shard(), Position())
        with quick_session() as session:
            session.run(stream.initializer)
            for _ in range(6):
                waits.append(session.run((stream.wait_seconds, stream.batch.index))[0])
                time.sleep(0.5)  # a training step
    return min(waits)


if __name__ == "__main__":
    print(shortest_wait(sys.argv[1]))
