"""Training and inference speed of SSD320 beside torchvision's RetinaNet in PyTorch.

    ORACLE_PYTHON=.venv-oracle/bin/python \\
        .venv/bin/python -m tests.benchmarks.against_torchvision [--inference] [--amp] [--batch_size 8]

The other network is ``retinanet_resnet50_fpn`` with 91 classes at a fixed size of 320: another backbone stride, nine
anchors per cell instead of six, heads without batch normalization; about as much work. Weights and images are random,
with seven objects per image in training; inference includes post-processing on both sides. The two take turns as in
``against_timm.py``. The environment needs torch==2.14.1 and torchvision==0.29.1.
"""

from tests.benchmarks.common import parser
from tests.benchmarks.pairs import add_arguments, compare


def main():
    arguments = parser(__doc__)
    arguments.set_defaults(arch="ssd320", batch_size=8, image_size=320)
    arguments.add_argument("--inference", action="store_true", help="compare detection instead of training")
    add_arguments(arguments)
    options = arguments.parse_args()
    flags = ["--inference"] if options.inference else []
    compare(options, name="torchvision", module="tests.benchmarks.torchvision_worker", our_flags=flags)


if __name__ == "__main__":
    main()
