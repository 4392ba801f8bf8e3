"""Predicts step time and scaling efficiency on many GPUs from what one of them does: a model, not a measurement.

Run as ``python -m tools.measure.scaling_model``; every number that goes in is on its command line. What is assumed:

- Each GPU computes its own batch, in the time that it takes alone.
- After that the gradients are averaged by rings, hierarchically. Within a node a ring of g GPUs sums and, at the end,
  distributes: each moves 2 (g - 1) / g of the gradients' bytes at the node's inner bandwidth. Between n nodes, in the
  middle, a ring moves 2 (n - 1) / n of the bytes at the bandwidth of one node's network adapters together. A ring of k
  members makes 2 (k - 1) hops, each with a latency; the gradients go in buffers, each with hops of its own.
- Averaging begins while the backward pass still runs, so the first part of it costs nothing: as much as fits into a
  share of the computing time.
- What else slows down a node whose GPUs all work (input, stragglers, the optimizer) shows in its measured speed, where
  that is given, and slows down all nodes alike.

Imports no TensorFlow.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tools.command import run_command
from utils.errors import EXIT_DONE, UsageError, require

GIGA = 1e9
MEGA = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Equal nodes of equal GPUs, and the links within and between them."""

    gpus_per_node: int
    node_bandwidth: float
    """Bytes/s that a ring within a node moves over each link."""
    network_bandwidth: float
    """Bytes/s that leave one node, all its adapters together."""
    latency_s: float
    """Of one hop of a ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a step on one GPU."""

    batch_size: int
    compute_s: float
    gradient_bytes: float
    overlap: float
    """The share of ``compute_s`` behind which averaging hides."""
    buffer_bytes: float = 64 * 2.0**20
    """Horovod's default for gradients that go together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A step on so many GPUs."""

    gpus: int
    exchange_s: float
    step_s: float
    images_per_s: float
    efficiency: float
    """Speed over that of as many GPUs that work alone."""


def ring_s(members: int, data_bytes: float, bandwidth: float, latency_s: float, buffers: int) -> float:
    """Seconds that an all-reduce takes on a ring: 2 (k - 1) / k of the bytes, and 2 (k - 1) hops for each buffer."""
    return 2 * (members - 1) * (data_bytes / members / bandwidth + latency_s * buffers)


def exchange_s(gpus: int, cluster: Cluster, work: Work) -> float:
    """Seconds that averaging the gradients takes on so many GPUs, hidden or not.

    Raises:
        UsageError: They are more than a node's and no multiple of them.
    """
    inside = min(gpus, cluster.gpus_per_node)
    if gpus % inside:
        raise UsageError(
            f"--gpus {gpus}: must be a multiple of --gpus_per_node {cluster.gpus_per_node}, or less than it"
        )
    buffers = math.ceil(work.gradient_bytes / work.buffer_bytes)
    node = ring_s(inside, work.gradient_bytes, cluster.node_bandwidth, cluster.latency_s, buffers)
    network = ring_s(gpus // inside, work.gradient_bytes, cluster.network_bandwidth, cluster.latency_s, buffers)
    return node + network


def predict(gpus: int, cluster: Cluster, work: Work, node_images_per_s: float | None = None) -> Prediction:
    """The step on so many GPUs.

    Args:
        gpus: How many.
        cluster: The machines.
        work: The step on one GPU.
        node_images_per_s: The measured speed of one whole node; what it lacks beside the model's, each node lacks.
    """
    exchange = exchange_s(gpus, cluster, work)
    step = work.compute_s + max(0.0, exchange - work.overlap * work.compute_s)
    if node_images_per_s is not None and gpus >= cluster.gpus_per_node:
        modelled = predict(cluster.gpus_per_node, cluster, work).step_s
        step += cluster.gpus_per_node * work.batch_size / node_images_per_s - modelled
    return Prediction(
        gpus=gpus,
        exchange_s=exchange,
        step_s=step,
        images_per_s=gpus * work.batch_size / step,
        efficiency=work.compute_s / step,
    )


def table(predictions: Sequence[Prediction]) -> str:
    """Predictions in Markdown."""
    lines = ["| GPUs | averaging | step | images/s | efficiency |", "|---|---|---|---|---|"]
    for row in predictions:
        times = f"{1000 * row.exchange_s:.1f} ms | {1000 * row.step_s:.1f} ms"
        lines.append(f"| {row.gpus} | {times} | {row.images_per_s:,.0f} | {row.efficiency:.2f} |")
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    description, _, assumed = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure.scaling_model",
        description=description,
        epilog=assumed.replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    measured = parser.add_argument_group("measured, or published by whoever measured")
    measured.add_argument("--images_per_s", type=float, required=True, help="training speed of one GPU")
    measured.add_argument("--batch_size", type=int, required=True, help="images per GPU")
    measured.add_argument("--parameters", type=float, required=True, help="trainable parameters of the network")
    measured.add_argument(
        "--node_images_per_s", type=float, help="training speed of one whole node (default: modelled)"
    )
    machine = parser.add_argument_group("of the machines")
    machine.add_argument("--gpus_per_node", type=int, required=True)
    machine.add_argument("--node_gb_s", type=float, required=True, help="all-reduce bandwidth within a node, GB/s")
    machine.add_argument(
        "--network_gb_s", type=float, required=True, help="bandwidth out of one node, all adapters, GB/s"
    )
    assumptions = parser.add_argument_group("assumed where they are not given")
    assumptions.add_argument("--latency_us", type=float, default=10.0, help="of one hop (default: %(default)s)")
    assumptions.add_argument("--overlap", type=float, default=0.5, help="see below, 0 to 1 (default: %(default)s)")
    assumptions.add_argument("--bytes_per_gradient", type=int, default=4, help="2 for float16 (default: %(default)s)")
    assumptions.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512], help="(default: 8 64 512)")
    return parser


def _check(options: argparse.Namespace) -> None:
    for name, value in vars(options).items():
        for number in value if isinstance(value, list) else [value]:
            if name in ("overlap", "latency_us"):
                require(0 <= number < math.inf, name, number, "0 or more")
            else:
                require(number is None or 0 < number < math.inf, name, number, "positive")
    require(options.overlap <= 1, "overlap", options.overlap, "at most 1")


def run(options: argparse.Namespace) -> int:
    """Prints the table and returns the exit status."""
    _check(options)
    cluster = Cluster(
        gpus_per_node=options.gpus_per_node,
        node_bandwidth=options.node_gb_s * GIGA,
        network_bandwidth=options.network_gb_s * GIGA,
        latency_s=options.latency_us / MEGA,
    )
    work = Work(
        batch_size=options.batch_size,
        compute_s=options.batch_size / options.images_per_s,
        gradient_bytes=options.parameters * options.bytes_per_gradient,
        overlap=options.overlap,
    )
    print(table([predict(gpus, cluster, work, options.node_images_per_s) for gpus in options.gpus]))
    return EXIT_DONE


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
