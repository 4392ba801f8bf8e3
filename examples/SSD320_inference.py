"""Measures the throughput and the latency percentiles of SSD320's detection on the validation images.

Run as ``python examples/SSD320_inference.py --batch_size 8 --checkpoint_dir DIR``. It runs
``object_detection/model_main.py --mode=inference_benchmark`` with the flags and the output of the original benchmark.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.program import begin

    begin()

from object_detection.model_command import parse
from runtime.entry_point import start
from utils.cmdline_helper import Command
from utils.dllogger_utils import SUMMARY, Logger, read_log
from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunError, UsageError
from utils.suggestions import absence

CONFIG = Path(__file__).resolve().parent.parent / "object_detection" / "configs" / "ssd320_full_1gpus.config"
THROUGHPUT, AVERAGE = "eval_throughput", "eval_latency_avg"  # their names in the log


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a positive integer")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: must be 0 or a positive integer")
    return int(text)


def _percentiles(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 0 < int(word) <= 100 for word in words):
        raise argparse.ArgumentTypeError(f"{text}: must be integers from 1 to 100, with commas between them")
    return tuple(int(word) for word in words)


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python examples/SSD320_inference.py", description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--pipeline_config_path",
        metavar="FILE",
        default=str(CONFIG),
        help="pipeline config (default: that of the training on one GPU)",
    )
    add("--checkpoint_dir", metavar="DIR", help="folder whose newest checkpoint to measure (default: random weights)")
    add(
        "--report_file",
        "--raport_file",
        metavar="FILE",
        default="summary.json",
        help="log to append to (default: %(default)s)",
    )
    add("--benchmark_iters", metavar="N", type=_positive, default=300, help="batches to measure (default: %(default)s)")
    add(
        "--warmup_iters",
        metavar="N",
        type=_not_negative,
        default=100,
        help="batches before the measurement (default: %(default)s)",
    )
    add("--batch_size", metavar="N", type=_positive, default=1, help="images per batch (default: %(default)s)")
    add(
        "--percentiles",
        metavar="P,...",
        type=_percentiles,
        default="90,95,99",
        help="percentiles of the latency (default: %(default)s)",
    )
    add("--hparams_overrides", metavar="NAME=VALUE,...", default="", help="override fields of the config")
    add("--amp", action="store_true", help="mixed precision; TF_ENABLE_AUTO_MIXED_PRECISION=1 does the same")
    add("--no_tf32", action="store_true", help="float32 products without TensorFloat-32 on GPUs since Ampere")
    return parser


def to_model_main_arguments(options: argparse.Namespace, results_dir: str) -> list[str]:
    """Translates the options to the arguments of ``object_detection/model_main.py``."""
    arguments = [
        "--mode=inference_benchmark",
        f"--pipeline_config_path={options.pipeline_config_path}",
        f"--model_dir={results_dir}",
        f"--report_file={options.report_file}",
        f"--batch_size={options.batch_size}",
        f"--num_iter={options.warmup_iters + options.benchmark_iters}",
        f"--warmup_steps={options.warmup_iters}",
        f"--percentiles={','.join(str(percentile) for percentile in options.percentiles)}",
        f"--hparams_overrides={options.hparams_overrides}",
    ]
    if options.checkpoint_dir is not None:
        arguments.append(f"--checkpoint_dir={options.checkpoint_dir}")
    return arguments + [f"--{name}" for name in ("amp", "no_tf32") if getattr(options, name)]


def to_figures(summary: Mapping[str, Any], percentiles: Sequence[int]) -> dict[str, float]:
    """Renames the logged figures to those of the original benchmark, in images/s and ms."""
    figures = {"infer_throughput": summary[THROUGHPUT], "eval_avg_latency": summary[AVERAGE]}
    return figures | {f"eval_{p}%_latency": summary[f"eval_latency_p{p}"] for p in percentiles}


def report(path: Path, percentiles: Sequence[int]) -> int:
    """Prints the figures in a run's log, appends them under their original names, and returns the exit status."""
    summaries = [record["data"] for record in read_log(path) if record.get("step") == list(SUMMARY)]
    if not summaries or THROUGHPUT not in summaries[-1]:
        print(f"SSD320_inference.py: error: {path}: the run logged no {THROUGHPUT}", file=sys.stderr)
        return EXIT_FAILED
    figures = to_figures(summaries[-1], percentiles)
    log = Logger(path, None)
    for name in figures:
        log.metadata(name, "images/s" if name == "infer_throughput" else "ms")
    log.log(SUMMARY, figures)
    log.close()
    print(f"Benchmark result: {figures['infer_throughput']:.2f} img/s")
    for name, value in list(figures.items())[1:]:
        print(f"{name}: {value:.2f} ms")
    return EXIT_DONE


def run_command(command: Command) -> int:
    """Runs the launch and returns its exit status.

    Raises:
        RunError: The folder of checkpoints holds none.
    """
    folder = command.config.run.model_dir
    if folder is not None and not any(Path(folder).glob("*.index")) and not Path(f"{folder}.index").is_file():
        raise RunError(f"--checkpoint_dir {folder}: {absence(Path(folder))}; leave the flag out for random weights")
    return start(command)


def main(arguments: Sequence[str], run: Callable[[Command], int] = run_command) -> int:
    """Runs the command and returns its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as empty:  # a benchmark keeps only its log
            status = run(parse(to_model_main_arguments(options, empty), os.environ))
    except (UsageError, RunError) as error:
        print(f"SSD320_inference.py: error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    return status or report(Path(options.report_file), options.percentiles)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
