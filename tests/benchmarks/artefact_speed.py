"""Inference speed of a network's artefacts: TensorFlow, ONNX Runtime, LiteRT and OpenVINO, the last two in int8 too.

    .venv/bin/python -m tests.benchmarks.artefact_speed --arch se-resnext101-32x4d --batch_size 1

The weights are random, which does not affect speed. TensorFlow runs the frozen graph. All get two threads and the same
noise, fed and fetched as arrays. They take turns, with a pause after each for its threads to go to sleep. Prints the
time of each conversion and the peak memory of the process so far, then the speeds and, round by round, their ratios to
TensorFlow's.
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import THREADS, json_line, load_at_start, parser, set_up_as_main_does, table

PAUSE_S = 0.5
CALIBRATION_IMAGES = 8


def main():
    arguments = parser(__doc__)
    arguments.set_defaults(batch_size=1)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=3.0, help="minimum length of a turn")
    options = arguments.parse_args()
    load = load_at_start()
    setup = set_up_as_main_does("inference_benchmark", options)
    with tempfile.TemporaryDirectory() as folder:
        runs, conversions = runners(setup, Path(folder), options.batch_size)
    for run in runs.values():
        run()
        run()
    speeds = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            speeds[name].append(options.batch_size * rate(run, options.seconds))
            time.sleep(PAUSE_S)
    ratios = {name: [a / b for a, b in zip(found, speeds["TensorFlow"], strict=True)] for name, found in speeds.items()}
    print(f"{options.arch}, batch {options.batch_size}, {THREADS} threads, {options.rounds} rounds: images/s")
    table(speeds)
    print("times TensorFlow")
    table(ratios)
    json_line(
        benchmark="artefact_speed",
        arch=options.arch,
        batch_size=options.batch_size,
        load_at_start=load,
        **conversions,
        **{f"images_per_second {name}": found for name, found in speeds.items()},
        **{f"ratio {name}": statistics.median(found) for name, found in ratios.items()},
    )


def rate(run, seconds):
    """Calls per second, over at least ``seconds`` seconds."""
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        run()
        calls += 1
    return calls / (time.perf_counter() - began)


def runners(setup, folder, batch):
    """A function that runs one batch, by name, and the cost of each conversion."""
    import numpy as np
    import tensorflow as tf

    from runtime.artefacts.frozen_graph import write_frozen_graph
    from runtime.artefacts.inference_graph import InputSpec, inference_graph, pruned
    from runtime.artefacts.model_dir import open_artefact
    from runtime.artefacts.onnx_model import write_onnx
    from runtime.artefacts.openvino_model import convert as openvino_of
    from runtime.artefacts.openvino_model import quantize, write_openvino
    from runtime.artefacts.tflite_model import convert, operators, write_tflite

    size, ends = setup.config.model.image_size, tuple(setup.task.post_processing.ends)
    network = inference_graph(setup.task, random_weights(setup), InputSpec(image_size=size))
    noise = np.random.default_rng(0).uniform(0, 255, (max(batch, CALIBRATION_IMAGES), size, size, 3))
    noise = noise.astype(np.float32)

    def calibration():
        return (image[np.newaxis] for image in noise[:CALIBRATION_IMAGES])

    def tflite(precision):
        model = convert(network, ends, precision, calibration if precision == "int8" else None)
        write_tflite(model, folder / f"{precision}.tflite", {})
        return operators(model)

    def openvino(precision):
        model = openvino_of(pruned(network, ends), "--format openvino")
        if precision == "int8":
            model = quantize(model, calibration, "--format openvino_int8")
        write_openvino(model, folder / f"{precision}.xml", {})

    steps = {
        "TensorFlow": (lambda: write_frozen_graph(network, folder / "net.pb", {}, text=False), "net.pb"),
        "ONNX Runtime": (lambda: write_onnx(network, folder / "net.onnx", {}), "net.onnx"),
        "LiteRT float32": (lambda: tflite("float32"), "float32.tflite"),
        "LiteRT int8": (lambda: tflite("int8"), "int8.tflite"),
        "OpenVINO float32": (lambda: openvino("float32"), "float32.xml"),
        "OpenVINO int8": (lambda: openvino("int8"), "int8.xml"),
    }
    runs, facts = {}, {}
    for name, (write, file) in steps.items():
        began = time.perf_counter()
        made = write()
        facts[f"conversion_s {name}"] = round(time.perf_counter() - began, 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name}: written in {facts[f'conversion_s {name}']} s, at most {peak:.2f} GiB until then; {made or ''}")
        facts[f"peak_gib {name}"] = round(peak, 2)
        artefact = open_artefact(folder / file, THREADS)
        with tf.Graph().as_default() as graph:
            image = tf.compat.v1.placeholder(tf.float32, [batch, size, size, 3])
            found = artefact.forward(image)
            fetches = [found[end] for end in ends]
        session = tf.compat.v1.Session(graph=graph, config=setup.session_config)
        runs[name] = lambda s=session, f=fetches, i=image: s.run(f, {i: noise[:batch]})
    return runs, facts


def random_weights(setup):
    """The initial values of a new network of the task, by name."""
    from runtime.inference.network import opened_weights

    with opened_weights(setup) as (session, weights):
        session.run(weights.initializer)
        return session.run({v.op.name: v for v in weights.variables})


if __name__ == "__main__":
    main()
