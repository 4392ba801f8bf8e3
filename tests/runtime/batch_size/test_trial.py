"""Trials take real steps of every mode, in this process, with tiny networks."""

import math
from unittest import mock

import pytest
import tensorflow as tf

from runtime.batch_size.trial import BatchTrial, Share
from runtime.trainer import Trainer
from tests.runtime.runs import network, picture, tiny_networks
from utils.cmdline_helper import parse
from utils.errors import RunError


def trial(*flags, processes=1, room=math.inf):
    """A trial for a command line without a batch; tiny networks stand in for the large ones."""
    given = [str(flag) for flag in flags]
    config = parse([*given, "--batch_size=auto"], {}).config
    return BatchTrial(config, Share(processes=processes, local_rank=0, threads=1, room=room))


@pytest.fixture(autouse=True)
def tiny():
    with tiny_networks():
        yield


def test_training_and_its_evaluation_are_tried(data_dir, tmp_path):
    flags = (*network(data_dir, tmp_path / "r", "train_and_evaluate"), "--progressive_sizes=8:0,32:0.5")
    ran = []
    with (
        mock.patch("runtime.trainer.run_loop", side_effect=_counting("runtime.trainer.run_loop", ran)),
        mock.patch("runtime.evaluation.run_loop", side_effect=_counting("runtime.evaluation.run_loop", ran)),
    ):
        tried = trial(*flags)
        assert (tried.images, tried.on_gpu) == (20, False)
        need = tried.need(6)
    assert need > 0
    assert ran == [(6, 32, 2), (6, 16, 1)]  # batch, side and steps of training at the largest size, then of evaluation
    assert not (tmp_path / "r").exists()


def _counting(name, ran):
    """The loop itself; it notes batch, side and steps."""
    module, _, attribute = name.rpartition(".")
    genuine = getattr(__import__(module, fromlist=[attribute]), attribute)

    def loop(session, graph, hooks, *, start, last, ahead=None):
        done = genuine(session, graph, hooks, start=start, last=last, ahead=ahead)
        images = graph.input.batch.images
        ran.append((images.shape[0], images.shape[1], done - start))
        return done

    return loop


def test_evaluation_benchmark_and_prediction_are_tried_with_the_weights(sound, tmp_path):
    weights = f"--model_dir={sound / 'trained'}"
    for mode, number in (("evaluate", 10), ("inference_benchmark", 10)):
        tried = trial(*network(sound / "data", tmp_path, mode), weights)
        assert tried.images == number
        assert tried.need(3) > 0
    (tmp_path / "images").mkdir()
    for number in range(5):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number))
    tried = trial("--mode=predict", f"--to_predict={tmp_path / 'images'}", weights, processes=2)
    assert tried.images == 3
    assert tried.need(2) > 0


def test_a_detector_is_tried(sound_detector, tmp_path):
    flags = ("--arch=ssd320", f"--data_dir={sound_detector / 'data'}", "--image_size=64", f"--results_dir={tmp_path}")
    tried = trial(*flags, "--mode=train", "--accumulate_steps=2", processes=2)
    assert tried.images == 2  # ten images for two processes with two batches each
    alone = trial(*flags, "--mode=train", "--accumulate_steps=2")
    assert tried.need(2) > 0
    assert alone.images == 5


def test_synthetic_images_are_as_many_as_one_likes():
    assert trial("--mode=training_benchmark", "--image_size=16").images is None


def test_what_needs_more_than_its_room_does_not_fit(data_dir, tmp_path):
    flags = network(data_dir, tmp_path, "train")
    assert trial(*flags, room=1000.0).need(2) is None
    tried = trial(*flags)
    with mock.patch.object(Trainer, "run", side_effect=tf.errors.ResourceExhaustedError(None, None, "OOM when")):
        assert tried.need(2) is None
    with (
        mock.patch.object(Trainer, "run", side_effect=tf.errors.InvalidArgumentError(None, None, "broken")),
        pytest.raises(RunError, match="--batch_size auto: a trial step fails: broken"),
    ):
        tried.need(2)
