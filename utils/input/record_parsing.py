"""Parsing of serialized records by the schema of a task."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from utils.records.record_rules import FeatureSpec, Schema

_TYPES = {bytes: tf.string, int: tf.int64, float: tf.float32}


def parse_features(serialized: tf.Tensor, schema: Schema) -> dict[str, tf.Tensor]:
    """The features of one serialized ``tf.train.Example``: a scalar or a list of any length for each key.

    Raises:
        tf.errors.InvalidArgumentError: At run time, if a feature is not as the schema says.
    """
    parsed: dict[str, tf.Tensor] = tf.io.parse_single_example(
        serialized, {key: _configuration(spec) for key, spec in schema.items()}
    )
    return parsed


def _configuration(spec: FeatureSpec) -> Any:
    kind = _TYPES[spec.kind]
    if spec.default is None:
        return tf.io.FixedLenSequenceFeature([], kind, allow_missing=True)
    return tf.io.FixedLenFeature([], kind, spec.default)
