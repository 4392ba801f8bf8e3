"""Test-time augmentation: a network that looks at each image and at its mirror image.

Shape symbols: N batch, A anchors, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import Artefact
from runtime.inference.logits import log_odds, log_probabilities
from runtime.task import Network, TensorMap
from utils.config import DETECTORS, ExperimentConfig
from utils.errors import UsageError

_WIDTH = 2  # axis of images [N, H, W, 3]
_MIRRORED_CODES = (1.0, -1.0, 1.0, 1.0)  # signs of the shifts along y and x and of the logarithms of both sides
_MIRRORED_SIDES = (0, 3, 2, 1)  # places of the distances to top, left, bottom and right in the mirror image

MergeViews = Callable[[TensorMap, TensorMap], TensorMap]
"""From the endpoints for images and for their mirror images to those for both."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A network that merges its endpoints for each image and for the mirror image; it is not for training.

    Attributes:
        network: The network, which computes both in one batch.
        merge: Merges the endpoints.
    """

    network: Network
    merge: MergeViews

    def normalize(self, images: Any) -> Any:
        return self.network.normalize(images)

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        if training:
            raise ValueError("mirror images are merged in inference only")
        both = self.network.forward(tf.concat([images, tf.reverse(images, [_WIDTH])], axis=0), training=False)
        halves = {name: tf.split(tensor, 2) for name, tensor in both.items()}
        return self.merge(*({name: half[view] for name, half in halves.items()} for view in (0, 1)))

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        return self.network.stored_names(stored)

    def by_zero_point(self) -> Mirrored:
        return replace(self, network=self.network.by_zero_point())

    def portable(self) -> Mirrored:
        return replace(self, network=self.network.portable())


def boxes_of_both(images: TensorMap, mirrored: TensorMap, *, ends: Sequence[str], distances: bool) -> TensorMap:
    """The endpoints ``ends`` of both views, [N, 2 A, ...], for the anchors of ``anchors_of_both``.

    "box_codes" [N, A, 4] are codes, or with ``distances`` those of the sides of
    ``object_detection.boxes.box_distribution``.

    All boxes go through the same suppression, as in test-time augmentation of two-stage detectors. Means over pairs of
    anchors would need grids that are symmetric, and the coarsest level of 320 pixels is not.
    """
    codes = mirrored["box_codes"]
    back = tf.gather(codes, _MIRRORED_SIDES, axis=-1) if distances else codes * tf.constant(_MIRRORED_CODES)
    others = {**mirrored, "box_codes": back}
    return {name: tf.concat([images[name], others[name]], axis=1) for name in ends}


def anchors_of_both(anchors: np.ndarray) -> np.ndarray:
    """The anchors [A, 4], then their mirror images."""
    ymin, xmin, ymax, xmax = anchors.T
    return np.concatenate([anchors, np.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1)]).astype(np.float32)


def probabilities_of_both(images: TensorMap, mirrored: TensorMap, *, several: bool) -> TensorMap:
    """The mean probabilities of both views and the logits that give them, [N, K] each.

    ``several`` classes an image have a sigmoid each, else there is one softmax.
    """
    activation, inverse = (tf.sigmoid, log_odds) if several else (tf.nn.softmax, log_probabilities)
    mean = (activation(images["logits"]) + activation(mirrored["logits"])) / 2.0
    return {"logits": inverse(mean), "probabilities": mean}


def check_views(config: ExperimentConfig, artefact: Artefact | None) -> None:
    """Checks that the network can look at images as the flags ask.

    Raises:
        UsageError: It cannot.
    """
    asked = config.prediction
    for flag, given in (("tiles", asked.tiles), ("draw_frames", asked.draw_frames or None)):
        if given is not None and config.detection is None:
            value = "" if given is True else f" {given}"
            raise UsageError(f"--{flag}{value}: only used with {DETECTORS[0]}, which detects objects")
    if asked.test_time_augmentation and artefact is not None:
        raise UsageError(
            f"--test_time_augmentation: {artefact.path} was exported to look at each image once; name its checkpoint"
        )
