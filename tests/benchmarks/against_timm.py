"""Training speed of our network beside timm's in PyTorch.

    ORACLE_PYTHON=.venv-oracle/bin/python \\
        .venv/bin/python -m tests.benchmarks.against_timm --arch resnet50 --batch_size 16 [--amp] [--xla]

Ours is the training step of ``main.py --mode=training_benchmark``; timm's is written in ``timm_worker.py``: the same
batch and image size, NHWC memory (channels_last), momentum and weight decay, with --amp bfloat16 autocast. Each side is
a process of two threads that stays alive and idle while the other one works; they take turns, A B A B, and each pair of
rounds gives one ratio. The median of the pairs counts, above 1 where ours is faster. requirements/oracle.txt tells how
to make the environment that ORACLE_PYTHON names.
"""

from tests.benchmarks.common import parser
from tests.benchmarks.pairs import add_arguments, compare


def main():
    arguments = parser(__doc__)
    add_arguments(arguments)
    compare(arguments.parse_args(), name="timm", module="tests.benchmarks.timm_worker")


if __name__ == "__main__":
    main()
