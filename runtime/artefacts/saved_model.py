"""SavedModels: a network with its variables and signatures for raw and for encoded images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from runtime.artefacts.artefact import Artefact, read_beside, without_advice_to_migrate
from runtime.artefacts.export_job import ExportJob, Written
from runtime.artefacts.formats import Format
from runtime.artefacts.frozen_graph import in_graph
from runtime.evaluation import load_weights
from runtime.inference.network import Weights, network_with_variables
from runtime.task import Setup
from utils.config import resolved
from utils.errors import RunError, reason
from utils.host_session import on_host
from utils.image_processing import image_shape
from utils.image_sizes import sides_of

tf1 = tf.compat.v1

INPUT_NAME = "input_tensor"
IMAGE_SIGNATURES = ("serving_default", "predict")
ENCODED_SIGNATURE = "encoded"
NETWORK_SIGNATURE = "network"
METADATA = Path("assets.extra") / "metadata.json"
MOST_BETWEEN_SIGNATURES = 1e-3


def write(job: ExportJob, row: Format, path: Path, metadata: Mapping[str, Any]) -> Written:
    """Writes a checkpoint in this format and compares its signatures.

    Raises:
        RunError: The checkpoint does not fit or is not finite, or the model cannot run.
        OSError: The folder is not writable.
        tf.errors.OpError: The folder is not writable.
    """
    write_saved_model(job.setup, job.prefix, path, metadata)
    largest = compare_signatures(job.setup, path)
    return Written(facts={"largest_difference_of_signatures": largest}, fault=signatures_differ(largest))


@without_advice_to_migrate()
def write_saved_model(setup: Setup, prefix: Path, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a SavedModel with three kinds of signatures to ``folder``, which must not exist.

    - "serving_default" and "predict": "input", float32 [-1, H, W, 3], raw RGB in 0..255; the task's predictions.
    - "encoded": "images", strings [-1], the bytes of JPEG or PNG files, which the model decodes, resizes and crops; the
      same predictions, but boxes refer to the whole pictures, and the class names if they are known.
    - "network": "input" as above; the endpoints behind the predictions: "logits", or "box_codes" and "class_logits".

    Raises:
        RunError: The checkpoint does not fit or is not finite.
        OSError: The folder is not writable.
        tf.errors.OpError: The folder is not writable.
    """
    weights, signatures = _build(setup)
    with tf1.Session(graph=weights.graph, config=setup.session_config) as session:
        load_weights(session, weights, prefix, setup.config.moving_average.eval_weights)
        _write(session, weights.graph, signatures, folder)
    (folder / METADATA).parent.mkdir()
    (folder / METADATA).write_text(json.dumps(dict(metadata), indent=1, ensure_ascii=False), encoding="utf-8")


def _build(setup: Setup) -> tuple[Weights, dict[str, Any]]:
    """The variables and the signatures of their graph; the images default to the decoded encoded input."""
    task, size = setup.task, resolved(setup.config.model, "image_size")
    graph = tf.Graph()
    with graph.as_default():
        encoded = tf1.placeholder(tf.string, [None], name="encoded_images")
        decoded = tf.map_fn(lambda image: task.data.preprocess(image, size), encoded, fn_output_signature=tf.float32)
        images = tf1.placeholder_with_default(decoded, [None, *sides_of(size), 3], name=INPUT_NAME)
    network = network_with_variables(task, images)
    with graph.as_default():
        predictions = task.post_processing.predictions(network.endpoints)
        placed = predictions
        if task.data.input_options().border is not None:
            shapes = tf.map_fn(image_shape, encoded, fn_output_signature=tf.TensorSpec([2], tf.int32))
            placed = task.post_processing.in_pictures(predictions, shapes)
        names = task.post_processing.class_names_of(placed)
        named = placed if names is None else {**placed, "class_names": names}
        ends = {name: network.endpoints[name] for name in task.post_processing.ends}
        define = tf1.saved_model.predict_signature_def
        signatures = dict.fromkeys(IMAGE_SIGNATURES, define({"input": images}, predictions))
        signatures[ENCODED_SIGNATURE] = define({"images": encoded}, named)
        signatures[NETWORK_SIGNATURE] = define({"input": images}, ends)
    return network.weights, signatures


def _write(session: Any, graph: Any, signatures: Mapping[str, Any], folder: Path) -> None:
    with graph.as_default():
        builder = tf1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [tf1.saved_model.tag_constants.SERVING], dict(signatures))
        builder.save()


@without_advice_to_migrate()
def open_saved_model(folder: Path, threads: int | None = None) -> Artefact:
    """Opens a SavedModel from this project, or one with the original's signature; its session sets the threads.

    Raises:
        RunError: The model is damaged or has no such signature.
    """
    del threads
    try:
        with tf1.Session(graph=tf.Graph(), config=on_host()) as session:
            meta = tf1.saved_model.load(session, [tf1.saved_model.tag_constants.SERVING], str(folder))
            kinds = [
                meta.signature_def[name]
                for name in (IMAGE_SIGNATURES[0], NETWORK_SIGNATURE)
                if name in meta.signature_def
            ]
            image = kinds[0].inputs["input"].name
            outputs = {key: info.name for kind in kinds for key, info in kind.outputs.items()}
            graph_def = constants(session, [name.partition(":")[0] for name in outputs.values()])
        metadata = read_beside(folder / METADATA) if (folder / METADATA).exists() else {}
        return in_graph(folder, graph_def, image, outputs, metadata or _inferred_metadata(graph_def, image, outputs))
    except (KeyError, IndexError) as error:
        raise RunError(f"{folder}: has no signature serving_default with an input named input") from error
    except (OSError, ValueError, RuntimeError, DecodeError, tf.errors.OpError) as error:
        raise RunError(f"{folder}: cannot be read as a SavedModel: {reason(error)}") from error


def _inferred_metadata(graph_def: Any, image: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    """The metadata of another program's classifier, inferred from its shapes."""
    with tf.Graph().as_default():
        found = tf.import_graph_def(graph_def, return_elements=[image, outputs["probabilities"]])
    return {"task": "classification", "image_size": found[0].shape[1], "num_classes": found[1].shape[1]}


def constants(session: Any, outputs: list[str]) -> Any:
    """The part of a session's graph behind some operations, with constants instead of variables."""
    return tf1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), outputs)


@without_advice_to_migrate()
def compare_signatures(setup: Setup, folder: Path) -> float:
    """The largest difference between a SavedModel's predictions for an image as raw pixels and encoded.

    Raises:
        RunError: A signature cannot be run.
    """
    last, size = setup.task.post_processing, resolved(setup.config.model, "image_size")
    height, width = sides_of(size)
    with tf.Graph().as_default(), tf1.Session() as session:
        noise = tf.random.stateless_uniform([1, height // 8 + 2, width // 6 + 2, 3], [1, 2], 0.0, 255.0)
        sides = [height + 16, width * 3 // 2]
        encoded = tf.io.encode_png(tf.cast(tf.image.resize(noise, sides)[0], tf.uint8))
        bytes_, image = session.run([encoded, setup.task.data.preprocess(encoded, size)])
    try:
        with tf1.Session(graph=tf.Graph(), config=setup.session_config) as session:
            meta = tf1.saved_model.load(session, [tf1.saved_model.tag_constants.SERVING], str(folder))
            found = []
            for name, key, value in ((IMAGE_SIGNATURES[0], "input", image), (ENCODED_SIGNATURE, "images", bytes_)):
                signature = meta.signature_def[name]
                outputs = {n: signature.outputs[n].name for n in last.prediction_names}
                found.append(session.run(outputs, {signature.inputs[key].name: [value]}))
    except (KeyError, tf.errors.OpError) as error:
        raise RunError(f"{folder}: its signatures cannot be run: {reason(error)}") from error
    from_pixels, from_bytes = found
    with tf.Graph().as_default(), tf1.Session() as session:
        in_input = {name: tf.constant(value) for name, value in from_pixels.items()}
        from_pixels = session.run(last.in_pictures(in_input, tf.constant([sides])))
    return max(float(np.abs(from_pixels[name] - from_bytes[name]).max()) for name in from_pixels)


def signatures_differ(largest: float) -> str | None:
    """The fault of a SavedModel with this difference between its signatures, or None."""
    if largest <= MOST_BETWEEN_SIGNATURES:
        return None
    return f"the predictions for an encoded image and for its raw pixels differ by {largest:.3g}"
