"""The speed of matrix products, and trials that need a GPU."""

import pytest

from tools.doctor.gpu.cards import FLOAT32, matrix_peak, product_speed, require_gpus
from tools.doctor.probe import Skipped


def test_the_speed_of_products_is_plausible_on_a_cpu():
    assert 1e9 < product_speed(FLOAT32, "CPU") < 1e14


def test_without_a_gpu_its_trials_are_skipped():
    with pytest.raises(Skipped, match="needs a GPU; TensorFlow finds none"):
        matrix_peak()
    with pytest.raises(Skipped, match="needs 2 GPUs"):
        require_gpus(2)
