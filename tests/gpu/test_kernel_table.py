"""The recorded table of GPU kernels against the kernels of TensorFlow's CUDA build."""

from tests.gpu.kernels import RECORDED
from tests.gpu.record import used_kernels


def test_the_recorded_kernels_are_those_of_this_tensorflow():
    assert used_kernels().to_json() == RECORDED.read_text(encoding="utf-8"), "python -m tests.gpu.record"
