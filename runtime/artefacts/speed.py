"""The speed of an artefact beside that of its checkpoint in this program: both are alive and take turns."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import Artefact, run_by
from runtime.evaluation import restoring
from runtime.inference.network import inference_network
from runtime.inference.onednn import keeps_kernels
from runtime.task import Setup
from utils.config import resolved
from utils.errors import RunError, reason
from utils.hvd_utils import SerialCommunicator
from utils.image_sizes import sides_of

tf1 = tf.compat.v1

BATCHES = (1, 16)
"""Sizes of the batches, for artefacts that take any number of images."""
TURNS = 3
_PAUSE_S = 0.02  # threads of the other runtime go on waiting for work for some milliseconds

Speeds = dict[str, dict[str, float]]
"""Images per second of "artefact" and "checkpoint", by batch size."""


def images_per_second(setup: Setup, prefix: Path, artefact: Artefact, seconds: float) -> Speeds:
    """Measures both networks on noise, from arrays to arrays, without post-processing.

    Args:
        setup: The network of the checkpoint.
        prefix: The checkpoint.
        artefact: What was exported from it.
        seconds: The shortest length of a turn.

    Raises:
        RunError: The artefact cannot be run.
    """
    task, sides = setup.task, sides_of(resolved(setup.config.model, "image_size"))
    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, [artefact.batch_size, *sides, 3])
        network = inference_network(task, images, SerialCommunicator(), constant=keeps_kernels(setup))
        found = run_by(task, artefact).network.forward(images, training=False)
    with tf1.Session(graph=graph, config=setup.session_config) as session:
        network.load(session, setup.session_config, restoring(setup, prefix))
        ends = task.post_processing.ends
        networks = {"artefact": found, "checkpoint": network.endpoints}
        steps = {
            name: session.make_callable([tensors[end] for end in ends], [images]) for name, tensors in networks.items()
        }
        speeds: Speeds = {}
        try:
            for batch in BATCHES if artefact.batch_size is None else (artefact.batch_size,):
                noise = np.random.default_rng(batch).uniform(0, 255, (batch, *sides, 3)).astype(np.float32)
                calls = {name: functools.partial(step, noise) for name, step in steps.items()}
                speeds[str(batch)] = {name: round(batch * rate, 2) for name, rate in _rates(calls, seconds).items()}
        except tf.errors.OpError as error:
            raise RunError(f"{artefact.path}: cannot be run: {reason(error)}") from error
    return speeds


def _rates(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The median of the calls per second of each, which take turns."""
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            call()
            rates[name].append(_rate(call, seconds))
            time.sleep(_PAUSE_S)
    return {name: statistics.median(found) for name, found in rates.items()}


def _rate(call: Callable[[], object], seconds: float) -> float:
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - began)
