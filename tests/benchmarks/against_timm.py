"""Training speed of our network beside timm's in PyTorch.

    ORACLE_PYTHON=.venv-oracle/bin/python \\
        .venv/bin/python -m tests.benchmarks.against_timm --arch resnet50 --batch_size 16 [--amp] [--xla]

Ours is the training step of ``main.py --mode=training_benchmark``. That of timm (``timm_worker.py``) has the same batch
and image size, NHWC memory (channels_last), momentum and weight decay, and bfloat16 autocast with --amp. Each side is a
process of two threads that idles while the other one works. They take turns, A B A B; each pair of rounds gives one
ratio, above 1 if ours is faster, and the median of the pairs counts. requirements/oracle.txt explains how to create the
environment that ORACLE_PYTHON names.
"""

from tests.benchmarks.common import parser
from tests.benchmarks.pairs import add_arguments, compare


def main():
    arguments = parser(__doc__)
    add_arguments(arguments)
    compare(arguments.parse_args(), name="timm", module="tests.benchmarks.timm_worker")


if __name__ == "__main__":
    main()
