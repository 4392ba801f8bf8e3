"""Efficiency of a network's inference, as a share of the speed of a large matrix product.

    .venv/bin/python -m tests.benchmarks.gemm_share --arch resnet50 --batch_size 16 [--amp] [--xla]

The peak is the speed of a 4096 x 4096 x 4096 tf.matmul in the network's compute type, without XLA, in this process.
Network and product take turns; each round gives one share, and the median of the rounds counts. The floating-point
operations are counted in the graph: two for each multiply-add of its convolutions and dense layers, including the zeros
of SAME padding, as is usual. The network is the evaluation graph of ``main.py --mode=inference_benchmark`` on synthetic
batches, with its input and fetches.
"""

import math
import time

from tests.benchmarks.common import THREADS, json_line, load_at_start, parser, set_up_as_main_does, table

SIDE = 4096
PRODUCTS = 2
"""Products per round."""


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--steps", type=int, default=5, help="batches per round")
    options = arguments.parse_args()
    load = load_at_start()
    setup = set_up_as_main_does("inference_benchmark", options)
    infer, flops = network(setup)
    multiply = product(setup.precision.compute_dtype)
    for _ in range(3):
        infer()
        multiply()
    speeds, peaks = [], []
    for _ in range(options.rounds):
        peaks.append(2 * SIDE**3 / seconds(multiply, PRODUCTS))
        speeds.append(options.batch_size / seconds(infer, options.steps))
    images = flops / options.batch_size
    shares = [speed * images / peak for speed, peak in zip(speeds, peaks, strict=True)]
    name = f"{options.arch}, {setup.precision.name}{', XLA' if options.xla else ''}, batch {options.batch_size}"
    print(f"{name}: {images / 1e9:.3f} GFLOP an image, {THREADS} threads, {options.rounds} rounds")
    peaks = [peak / 1e9 for peak in peaks]
    table({"images/s": speeds, "matmul GFLOP/s": peaks, "share": shares})
    json_line(
        benchmark="gemm_share",
        arch=options.arch,
        precision=setup.precision.name,
        xla=options.xla,
        batch_size=options.batch_size,
        load_at_start=load,
        gflop_per_image=images / 1e9,
        images_per_second=speeds,
        matmul_gflops=peaks,
        share=shares,
    )


def seconds(run, count):
    """Mean seconds of ``count`` calls."""
    began = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - began) / count


def network(setup):
    """A function that runs one batch, and the floating-point operations of its graph."""
    import tensorflow as tf

    from runtime.graphs import build_eval_graph
    from utils.hvd_utils import SerialCommunicator
    from utils.input.batching import Position, Shard

    graph = tf.Graph()
    with graph.as_default():
        data = setup.task.data.input("validation", Shard(), Position())
    built = build_eval_graph(setup.task, data, graph, SerialCommunicator())
    session = tf.compat.v1.Session(graph=graph, config=setup.session_config)
    session.run([built.initializer, data.initializer])
    fetches = built.fetches()
    return lambda: session.run(fetches), count_flops(graph)


def count_flops(graph):
    """Counts two operations for each multiply-add of a graph's convolutions and matrix products.

    Raises:
        ValueError: A shape is unknown, or the graph has a matrix operation that is not counted here.
    """
    total = 0
    for operation in graph.get_operations():
        if operation.type == "Conv2D":  # [N, h, w, out] times [height, width, in / groups, out]
            per_output = math.prod(operation.inputs[1].shape.as_list()[:3])
        elif operation.type == "MatMul":
            per_output = operation.inputs[0].shape.as_list()[0 if operation.get_attr("transpose_a") else 1]
        elif operation.type in ("BatchMatMulV2", "Conv3D", "DepthwiseConv2dNative", "Einsum"):
            raise ValueError(f"{operation.name}: operations of type {operation.type} are not counted")
        else:
            continue
        total += 2 * per_output * math.prod(operation.outputs[0].shape.as_list())
    return total


def product(dtype):
    """A function that multiplies two square matrices, in a session of its own."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tf.Graph().as_default():
        matrices = [tf.cast(tf.random.stateless_normal([SIDE, SIDE], [seed, 0]), dtype) for seed in (1, 2)]
        left, right = (tf1.get_variable(f"m{i}", initializer=m, use_resource=True) for i, m in enumerate(matrices))
        operation = tf.matmul(left, right).op
        threads = tf1.ConfigProto(intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=THREADS)
        session = tf1.Session(config=threads)
        session.run(tf1.global_variables_initializer())
    return lambda: session.run(operation)


if __name__ == "__main__":
    main()
