"""Sizes of training images that follow another ``--image_size``."""

import pytest

from utils.cmdline_helper import parse
from utils.errors import UsageError
from utils.flags.recipe_sizes import follow_image_size
from utils.flags.recipes import RecipeArgument, origin_of

SCALED, DATA = "--scale_recipe", ("--batch_size=8", "--data_dir=D", "--recipe_batch=256")
RECIPE = ("--image_size=224", "--train_image_size=160")


def sizes(*arguments, mode="train"):
    data = parse([f"--mode={mode}", *DATA, *arguments], {}).config.data
    return data.train_image_size, [size for size, _ in data.progressive_sizes]


@pytest.mark.parametrize(("side", "expected"), [(224, 160), (64, 48), (96, 72), (112, 80), (448, 320), (4, 8)])
def test_the_size_of_training_images_keeps_its_ratio_to_the_nearest_multiple_of_8(side, expected):
    assert sizes(*RECIPE, SCALED, f"--image_size={side}") == (expected, [])


def test_growing_sizes_follow_and_their_shares_stay():
    recipe = ("--image_size=256", "--progressive_sizes=160:0,192:0.75")
    config = parse(["--mode=train", *DATA, *recipe, "--image_size=64", SCALED], {}).config
    assert config.data.progressive_sizes == ((40, 0.0), (48, 0.75))


def test_without_the_flag_and_with_a_size_of_their_own_they_stay():
    assert sizes(*RECIPE, "--image_size=64") == (160, [])
    assert sizes(*RECIPE, SCALED, "--image_size=64", "--train_image_size=56") == (56, [])
    assert sizes("--train_image_size=160", "--image_size=64", SCALED) == (160, [])


def test_several_image_sizes_in_turn_round_once():
    assert sizes(*RECIPE, "--image_size=100", "--image_size=64", SCALED) == (48, [])


def test_the_log_tells_the_change_where_it_has_an_effect():
    told = "--scale_recipe: --train_image_size 48 instead of 160, because --image_size is 64 instead of 224"
    given = (*DATA, *RECIPE, SCALED, "--image_size=64")
    assert parse(["--mode=train", *given], {}).notes == (told,)
    assert not any("instead of" in note for note in parse(["--mode=evaluate", *given], {}).notes)


def test_a_changed_size_keeps_its_line_in_the_recipe():
    line = RecipeArgument("--train_image_size=160", "A3.args, line 9")
    changed, _ = follow_image_size(["--image_size=224", line, SCALED, "--image_size=64"])
    assert (changed[1], origin_of(changed[1])) == ("--train_image_size=48", "A3.args, line 9")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((*RECIPE, SCALED, "--image_size=small"), "--image_size small: must be an integer"),
        ((*RECIPE, SCALED, "--image_size=0"), "--image_size 0: must be 1 to 16384 pixels"),
        ((SCALED, "--recipe_batch=0"), "--recipe_batch 0: must be a positive integer"),
        ((SCALED, "--arch=ssd320"), "--recipe_batch: not used with --arch ssd320; leave the flag out"),
    ],
)
def test_what_makes_no_sense_is_refused(flags, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        sizes(*flags)


def test_fitting_needs_the_batch_of_the_recipe():
    with pytest.raises(UsageError, match="--scale_recipe: needs a recipe that states its global batch"):
        parse(["--mode=train", "--batch_size=8", "--data_dir=D", SCALED], {})
