"""Records of steps for the tests of hooks."""

from utils.hooks.hook import StepRecord


def step(number, *, run_seconds=1.0, seconds=1.0, wait_seconds=0.0, **values):
    return StepRecord(step=number, run_seconds=run_seconds, seconds=seconds, wait_seconds=wait_seconds, values=values)
