"""Time of post-processing: with the default number of candidates, and with all of them.

    .venv/bin/python -m tests.benchmarks.postprocessing_speed --batch_size 8

Boxes and logits are variables; all four results are computed and none is fetched. The logits are like those of a new
network (normal around -4.6) or of a trained one (lower, with a few in a hundred thousand high). Graph rewriting is off.
"""

import argparse
import time

from tests.benchmarks.common import THREADS, json_line, load_at_start, table

ANCHORS, CLASSES = 12804, 90


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--batch_size", type=int, default=8)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--all_rounds", type=int, default=3, help="rounds with all candidates, 0 for none")
    options = arguments.parse_args()
    load = load_at_start()
    from utils.detection_config import PostProcessingSpec

    specs = {"default": (PostProcessingSpec(), options.rounds)}
    if options.all_rounds:
        specs["all candidates"] = (PostProcessingSpec(candidates=None), options.all_rounds)
    times = {
        f"{kind}, {name}": milliseconds(spec, kind, options.batch_size, rounds)
        for name, (spec, rounds) in specs.items()
        for kind in ("new", "trained")
    }
    print(f"ms a batch of {options.batch_size}, {ANCHORS} anchors, {CLASSES} classes, {THREADS} threads")
    table(times)
    json_line(benchmark="postprocessing_speed", batch_size=options.batch_size, load_at_start=load, **times)


def milliseconds(spec, kind, batch_size, rounds):
    """The time of each batch in ms, after two warm-up batches."""
    import tensorflow as tf

    from object_detection.postprocessing.non_maximum_suppression import postprocess

    tf1 = tf.compat.v1
    config = tf1.ConfigProto(intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=THREADS)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.Graph().as_default(), tf1.Session(config=config) as session:
        inputs = [tf1.get_variable(f"input{n}", initializer=array) for n, array in enumerate(problem(kind, batch_size))]
        results = [tensor.op for tensor in postprocess(*inputs, spec)]
        session.run(tf1.global_variables_initializer())
        times = []
        for _ in range(rounds + 2):
            began = time.perf_counter()
            session.run(results)
            times.append(1000 * (time.perf_counter() - began))
    return times[2:]


def problem(kind, batch_size):
    """Boxes [N, A, 4] and logits [N, A, K], like those of a new or a trained network."""
    import numpy as np

    random = np.random.default_rng(0)
    centers = random.uniform(0, 1, (batch_size, ANCHORS, 2))
    halves = np.exp(random.normal(-2.5, 0.7, (batch_size, ANCHORS, 2)))
    shape = (batch_size, ANCHORS, CLASSES)
    mean, deviation = (-4.6, 0.9) if kind == "new" else (-7.0, 1.5)
    logits = random.normal(mean, deviation, shape).astype(np.float32)
    if kind == "trained":
        logits[random.random(shape, np.float32) < 2e-5] = 2.0
    return np.concatenate([centers - halves, centers + halves], axis=2).astype(np.float32), logits


if __name__ == "__main__":
    main()
