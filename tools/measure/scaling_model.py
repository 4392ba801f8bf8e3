"""Predicts step time and scaling efficiency on many GPUs from the speed of one: a model, not a measurement.

Assumptions:

- Each GPU computes its own batch in the same time as alone.
- A hierarchical ring all-reduce then averages the gradients. Within a node, a ring of g GPUs reduces at the start and
  broadcasts at the end; each GPU moves 2 (g - 1) / g of the gradients' bytes at the node's inner bandwidth. In between,
  a ring of n nodes moves 2 (n - 1) / n of the bytes at the total bandwidth of one node's network adapters. A ring of k
  members makes 2 (k - 1) hops, each with a latency; gradients travel in buffers, each with hops of its own.
- Averaging starts during the backward pass. It costs nothing while it overlaps with a share of the computing time.
- Other losses on a busy node (input, stragglers, the optimizer) show in its measured speed, if given, and slow down all
  nodes equally.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.command import CommandParser, run_command
from utils.errors import EXIT_DONE, UsageError, require

GIGA = 1e9
MEGA = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Equal nodes of equal GPUs, and the links within and between them."""

    gpus_per_node: int
    node_bandwidth: float
    """Bytes/s over each link of a ring within a node."""
    network_bandwidth: float
    """Bytes/s out of one node, over all its adapters together."""
    latency_s: float
    """Latency of one hop of a ring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a step on one GPU."""

    batch_size: int
    compute_s: float
    gradient_bytes: float
    overlap: float
    """The share of ``compute_s`` that can overlap with averaging."""
    buffer_bytes: float = 64 * 2.0**20
    """Horovod's default fusion buffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The predicted step on a number of GPUs."""

    gpus: int
    exchange_s: float
    step_s: float
    images_per_s: float
    efficiency: float
    """Speed relative to the same number of independent GPUs."""


def ring_s(members: int, data_bytes: float, bandwidth: float, latency_s: float, buffers: int) -> float:
    """Time of an all-reduce on a ring in seconds: 2 (k - 1) / k of the bytes, and 2 (k - 1) hops for each buffer."""
    return 2 * (members - 1) * (data_bytes / members / bandwidth + latency_s * buffers)


def exchange_s(gpus: int, cluster: Cluster, work: Work) -> float:
    """Time to average the gradients in seconds, overlapped or not.

    Raises:
        UsageError: The GPUs exceed a node's and are not a multiple of them.
    """
    inside = min(gpus, cluster.gpus_per_node)
    if gpus % inside:
        raise UsageError(f"--gpus {gpus}: must be at most --gpus_per_node {cluster.gpus_per_node}, or a multiple of it")
    buffers = math.ceil(work.gradient_bytes / work.buffer_bytes)
    node = ring_s(inside, work.gradient_bytes, cluster.node_bandwidth, cluster.latency_s, buffers)
    network = ring_s(gpus // inside, work.gradient_bytes, cluster.network_bandwidth, cluster.latency_s, buffers)
    return node + network


def predict(gpus: int, cluster: Cluster, work: Work, node_images_per_s: float | None = None) -> Prediction:
    """The step on a number of GPUs.

    Args:
        gpus: Number of GPUs.
        cluster: The machines.
        work: The step on one GPU.
        node_images_per_s: The measured speed of one whole node; every node loses as much against the model.
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
    """The predictions as a Markdown table."""
    lines = ["| GPUs | averaging | step | images/s | efficiency |", "|---|---|---|---|---|"]
    for row in predictions:
        times = f"{1000 * row.exchange_s:.1f} ms | {1000 * row.step_s:.1f} ms"
        lines.append(f"| {row.gpus} | {times} | {row.images_per_s:,.0f} | {row.efficiency:.2f} |")
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    description, _, assumed = (__doc__ or "").partition("\n\n")
    parser = CommandParser(prog="python -m tools.measure.scaling_model", description=description, epilog=assumed)
    measured = parser.add_argument_group("measured or published values")
    measured.add_argument("--images_per_s", type=float, required=True, help="training speed of one GPU")
    measured.add_argument("--batch_size", type=int, required=True, help="images per GPU")
    measured.add_argument("--parameters", type=float, required=True, help="trainable parameters of the network")
    measured.add_argument(
        "--node_images_per_s", type=float, help="training speed of one whole node (default: computed)"
    )
    machine = parser.add_argument_group("machines")
    machine.add_argument("--gpus_per_node", type=int, required=True, help="GPUs in one node")
    machine.add_argument("--node_gb_s", type=float, required=True, help="all-reduce bandwidth within a node, GB/s")
    machine.add_argument(
        "--network_gb_s", type=float, required=True, help="bandwidth out of one node, all adapters, GB/s"
    )
    assumptions = parser.add_argument_group("assumptions, with defaults")
    assumptions.add_argument("--latency_us", type=float, default=10.0, help="latency of one hop (default: %(default)s)")
    assumptions.add_argument(
        "--overlap",
        type=float,
        default=0.5,
        help="share of the computing time that hides averaging, 0 to 1; see below (default: %(default)s)",
    )
    assumptions.add_argument(
        "--bytes_per_gradient", type=int, default=4, help="size of a gradient; 2 for float16 (default: %(default)s)"
    )
    assumptions.add_argument(
        "--gpus", type=int, nargs="+", default=[8, 64, 512], help="numbers of GPUs to predict (default: 8 64 512)"
    )
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
