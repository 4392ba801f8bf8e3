"""Augmentation that puts images of a batch together, in the training graph.

Each example brings its own random numbers, which depend on the seed, the epoch and its index alone. The other images
are those of the batch that a process has in a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from object_detection.augmentation import copy_paste, mosaic
from object_detection.augmentation.instance_maps import MAP_TARGET
from object_detection.augmentation.partners import partners
from object_detection.groundtruth import Groundtruth, joined_in_few_rows
from utils.image_sizes import sides_of
from utils.input.batching import Batch, InputOptions
from utils.object_augment_config import ObjectAugmentConfig

DRAWS_TARGET = "mixing_draws"
DRAWS_SPEC = tf.TensorSpec([mosaic.DRAWS + copy_paste.DRAWS], tf.float32)
_STREAM = 5
MOSAIC_SHARE = 0.9
"""Share of a run with mosaics; it ends on images as they are."""


def mixing_draws(seed: tf.Tensor) -> tf.Tensor:
    """The random numbers of an example, from its seed ``[2]``; apart from those of all steps."""
    return tf.random.stateless_uniform(DRAWS_SPEC.shape, tf.random.fold_in(seed, tf.constant(_STREAM, tf.int64)))


def synthetic_mixing_targets(augment: ObjectAugmentConfig, options: InputOptions) -> dict[str, tf.Tensor]:
    """The targets that ``ObjectMixing`` reads, for synthetic images, whose objects have no masks."""
    count, found = options.batch_size, {}
    if augment.mixes:
        seed = tf.constant([options.seed, 4], tf.int64)
        found[DRAWS_TARGET] = tf.random.stateless_uniform([count, *DRAWS_SPEC.shape], seed)
    if augment.copy_paste:
        found[MAP_TARGET] = tf.zeros([count, *sides_of(options.image_size)], tf.int32)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMixing:
    """Puts images of a batch together: first copy-paste, then mosaics.

    Attributes:
        augment: The flags.
        mosaic_steps: The number of steps from the begin of the run that may show mosaics.
    """

    augment: ObjectAugmentConfig
    mosaic_steps: int

    def __call__(
        self, images: tf.Tensor, groundtruth: Groundtruth, batch: Batch, step: tf.Tensor
    ) -> tuple[tf.Tensor, Groundtruth]:
        """The images and objects that a step trains on.

        Args:
            images: ``[N, H, W, C]``, normalized.
            groundtruth: Their objects.
            batch: The batch that they come from, with the draws of each example.
            step: Int64, the number of steps before this one.
        """
        if self.augment.copy_paste:
            images, groundtruth = self._pasted(images, groundtruth, batch)
        if self.augment.mosaic:
            images, groundtruth = self._composed(images, groundtruth, batch, step)
        return images, groundtruth

    def _pasted(self, images: tf.Tensor, own: Groundtruth, batch: Batch) -> tuple[tf.Tensor, Groundtruth]:
        with tf.device("/CPU:0"):
            decides, chooses, selects = tf.unstack(batch.targets[DRAWS_TARGET][:, mosaic.DRAWS :], axis=1)
            row = partners(batch.index, chooses[:, tf.newaxis])[:, 0]
            counts = (batch.mask > 0) & (tf.gather(batch.mask, row) > 0)
            maps = _of_size(batch.targets[MAP_TARGET], images.shape[1:3])
            maps = tf.where(maps > tf.shape(own.weights)[1], 0, maps)  # rows that count nowhere are cut off
            other, other_map = Groundtruth(*(tf.gather(values, row) for values in own)), tf.gather(maps, row)
            chosen = copy_paste.chosen_objects(other, selects, counts & (decides < self.augment.copy_paste))
            objects = copy_paste.pasted_objects(own, other, (maps, other_map), chosen, self.augment.min_visible)
            objects = joined_in_few_rows(objects)
            covered, row = copy_paste.covered_pixels(other_map, chosen), tf.cast(row, tf.int64)
        pasted = tf.where(covered[..., tf.newaxis], tf.gather(images, row), images)
        return pasted, objects

    def _composed(
        self, images: tf.Tensor, groundtruth: Groundtruth, batch: Batch, step: tf.Tensor
    ) -> tuple[tf.Tensor, Groundtruth]:
        shape = (int(images.shape[1]), int(images.shape[2]))
        with tf.device("/CPU:0"):
            probability = tf.where(step < self.mosaic_steps, self.augment.mosaic, 0.0)
            draws = batch.targets[DRAWS_TARGET][:, : mosaic.DRAWS]
            mosaics = mosaic.choose(draws, batch.index, batch.mask, probability, shape)
            objects = mosaic.mosaic_objects(groundtruth, mosaics, shape, self.augment.min_visible)
            objects = joined_in_few_rows(objects)
        return mosaic.mosaic_images(images, mosaics), objects


def _of_size(maps: tf.Tensor, sides: Sequence[int]) -> tf.Tensor:
    """The maps ``[N, H, W]``; a batch without a readable image has empty ones."""
    missing = [[0, 0], *([0, side - tf.shape(maps)[axis]] for axis, side in enumerate(sides, 1))]
    return tf.ensure_shape(tf.pad(maps, missing), [None, *sides])


def steps_with_mosaics(total_steps: int) -> int:
    """The number of steps of a run until its last tenth, which shows images as they are."""
    return int(MOSAIC_SHARE * total_steps + 0.5)
