"""What is looked at inside of a run, as it is asked for."""

import pytest

from utils.errors import UsageError
from utils.observation_config import ObservationConfig, steps_of_text, text_of_steps

ALLOWED = "must be FROM,TO: the first and the last step, counted from 1, at most 100 of them"


@pytest.mark.parametrize(("text", "steps"), [("3,4", (3, 4)), (" 7 , 7", (7, 7)), ("1,100", (1, 100))])
def test_two_steps_are_read_and_written(text, steps):
    assert steps_of_text(text) == steps
    assert steps_of_text(text_of_steps(steps)) == steps
    assert ObservationConfig(profile=steps).profile == steps


@pytest.mark.parametrize("text", ["5", "", "5,", "a,b", "1,2,3", "-1,3", "1.5,2", "٣,٤"])
def test_what_is_not_two_numbers_is_refused(text):
    with pytest.raises(UsageError, match=ALLOWED):
        steps_of_text(text)


@pytest.mark.parametrize("steps", [(9, 3), (0, 2), (1, 101)])
def test_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(UsageError, match=f"--profile {steps[0]},{steps[1]}: {ALLOWED}"):
        ObservationConfig(profile=steps)


def test_histograms_come_never_or_every_so_many_steps():
    assert ObservationConfig().histograms_every == 0
    with pytest.raises(UsageError, match="--histograms_every -1: must be 0 or more"):
        ObservationConfig(histograms_every=-1)


def test_a_trace_must_begin_before_the_end():
    config = ObservationConfig(profile=(5, 9))
    config.check_length(5)
    with pytest.raises(UsageError, match="--profile 5,9: begins after the end, the run has 4 batches"):
        config.check_length(4, "batches")
    ObservationConfig().check_length(0)
