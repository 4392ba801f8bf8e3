"""Settings of pretrained weights, read from the descriptions of checkpoints."""

import pytest

from utils.errors import RunError
from utils.weights.pretrained_config import PRETRAINED_CONFIGS, PretrainedConfig, stored_pretrained_config

IMAGES = {"mean_rgb": [1, 2, 3], "std_rgb": [4, 5, 6], "range": [0, 255]}


def test_a_description_comes_back_as_it_was_written():
    for pretrained in PRETRAINED_CONFIGS.values():
        mean, std = pretrained.mean_rgb or (1, 2, 3), pretrained.std_rgb or (4, 5, 6)
        stored = {"network": pretrained.network, "preprocessing": {"mean_rgb": list(mean), "std_rgb": list(std)}}
        found = stored_pretrained_config(stored)
        assert found.network == pretrained.network
        assert (found.mean_rgb, found.std_rgb) == (mean, std)


def test_descriptions_of_earlier_releases_say_nothing_of_the_network():
    assert stored_pretrained_config({"preprocessing": IMAGES}).is_default
    assert stored_pretrained_config({}) == PretrainedConfig()


def test_a_checkpoint_without_a_description_has_the_settings_of_its_program():
    assert stored_pretrained_config({"origin": "slim"}) == PRETRAINED_CONFIGS["slim"]
    assert stored_pretrained_config({"origin": "nvidia"}).is_default


@pytest.mark.parametrize("change", [{"padding": "reflect"}, {"strided": "5x5"}, {"epsilon": "much"}])
def test_a_network_that_cannot_be_built_is_a_sentence(change):
    with pytest.raises(RunError, match="the checkpoint's description"):
        stored_pretrained_config({"network": change, "preprocessing": IMAGES})


@pytest.mark.parametrize("change", [{"std_rgb": [1, 0, 1]}, {"std_rgb": [1, 1]}, {"mean_rgb": None}])
def test_images_that_cannot_be_normalized_are_a_sentence(change):
    with pytest.raises(RunError, match="the checkpoint's description"):
        stored_pretrained_config({"preprocessing": IMAGES | change})


def test_the_summary_names_what_differs_and_nothing_else():
    assert PretrainedConfig().summary() == "this project's settings"
    assert PRETRAINED_CONFIGS["torch"].summary() == (
        "symmetric padding, epsilon 1e-05, mean 123.675 116.28 103.53, standard deviation 58.395 57.12 57.375"
    )
    assert [name for name, pretrained in PRETRAINED_CONFIGS.items() if not pretrained.is_default] == [
        "slim",
        "torch",
        "cadene",
    ]
