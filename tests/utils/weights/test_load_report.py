"""The load table, and its reasons for unused tensors."""

import pytest

from utils.weights.load_report import is_own_state, is_unknown, load_table, renamed, reshaped, same_numbers, why_unused


def test_each_fate_has_a_line_with_its_number_and_first_names_those_of_loading_first():
    fates = [(f"new {i}", "new") for i in range(5)] + [("a", "loaded"), (renamed("b", "c"), "loaded, reshaped")]
    assert load_table(fates).splitlines() == [
        "      1  loaded            a",
        "      1  loaded, reshaped  b from c",
        "      5  new               new 0, new 1, new 2, ...",
    ]
    assert load_table([]) == ""


def test_a_reshaped_variable_is_shown_with_both_shapes():
    assert reshaped("dense/kernel", (1, 1, 8, 5), [8, 5]) == "dense/kernel from [1, 1, 8, 5] to [8, 5]"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("resnet50/conv2d/conv2d/kernel/Momentum", "optimizer"),
        ("resnet50/conv2d/conv2d/kernel/Adam_1", "optimizer"),
        ("beta2_power", "optimizer"),
        ("global_step", "optimizer"),
        ("loss_scale/good_steps", "optimizer"),
        ("resnet50/output/dense/weights_quant/min", "quantization"),
        ("resnet50/conv2d/conv2d/kernel/ExponentialMovingAverage", "averages"),
        ("layer1.0.bn1.num_batches_tracked", "counters"),
        ("signal_handler_var", "program"),
        ("resnet50/momentum_encoder/kernel", "no variable matches it"),
    ],
)
def test_why_a_tensor_is_not_used_is_told_by_its_name(name, word):
    assert word in why_unused(name)
    assert is_unknown(name) == (word == "no variable matches it")


@pytest.mark.parametrize("name", ["resnet50/a/act_quant/max", "a/kernel/ExponentialMovingAverage"])
def test_ranges_and_averages_are_a_programs_own(name):
    assert is_own_state(name)
    assert not is_own_state("resnet50/output/dense/kernel")


@pytest.mark.parametrize(
    ("stored", "wanted", "same"),
    [
        ((8, 5), (8, 5), True),
        ((1, 1, 8, 5), (8, 5), True),
        ((8, 5), (1, 1, 8, 5), True),
        ((5, 8), (8, 5), False),
        ((1, 1, 5), (5,), False),
        ((40,), (8, 5), False),
        ((3, 3, 8, 5), (8, 5), False),
        ((), (), True),
    ],
)
def test_a_matrix_and_a_1x1_convolution_hold_the_same_numbers_and_nothing_else_does(stored, wanted, same):
    assert same_numbers(stored, wanted) == same
