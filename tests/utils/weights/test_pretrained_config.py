"""What weights need beside their architecture, as descriptions of checkpoints say it."""

import pytest

from utils.errors import RunError
from utils.weights.pretrained_config import CONVENTIONS, Convention, stored_convention

IMAGES = {"mean_rgb": [1, 2, 3], "std_rgb": [4, 5, 6], "range": [0, 255]}


def test_a_description_comes_back_as_it_was_written():
    for convention in CONVENTIONS.values():
        mean, std = convention.mean_rgb or (1, 2, 3), convention.std_rgb or (4, 5, 6)
        stored = {"network": convention.network, "preprocessing": {"mean_rgb": list(mean), "std_rgb": list(std)}}
        found = stored_convention(stored)
        assert found.network == convention.network
        assert (found.mean_rgb, found.std_rgb) == (mean, std)


def test_descriptions_of_earlier_releases_say_nothing_of_the_network():
    assert stored_convention({"preprocessing": IMAGES}).is_usual
    assert stored_convention({}) == Convention()


def test_a_checkpoint_without_a_description_has_the_convention_of_its_program():
    assert stored_convention({"origin": "slim"}) == CONVENTIONS["slim"]
    assert stored_convention({"origin": "nvidia"}).is_usual


@pytest.mark.parametrize("change", [{"padding": "reflect"}, {"strided": "5x5"}, {"epsilon": "much"}])
def test_a_network_that_cannot_be_built_is_a_sentence(change):
    with pytest.raises(RunError, match="the checkpoint's description"):
        stored_convention({"network": change, "preprocessing": IMAGES})


@pytest.mark.parametrize("change", [{"std_rgb": [1, 0, 1]}, {"std_rgb": [1, 1]}, {"mean_rgb": None}])
def test_images_that_cannot_be_normalized_are_a_sentence(change):
    with pytest.raises(RunError, match="the checkpoint's description"):
        stored_convention({"preprocessing": IMAGES | change})


def test_words_name_what_differs_and_nothing_else():
    assert Convention().in_words() == "as trained here"
    assert CONVENTIONS["torch"].in_words() == (
        "symmetric padding, epsilon 1e-05, mean 123.675 116.28 103.53, deviation 58.395 57.12 57.375"
    )
    assert [name for name, convention in CONVENTIONS.items() if not convention.is_usual] == ["slim", "torch", "cadene"]
