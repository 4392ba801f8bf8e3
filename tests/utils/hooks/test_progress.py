"""Progress of a loop on the screen of its launch."""

import numpy as np

from tests.utils.hooks.steps import step
from utils.console.screen import Bar, Screen
from utils.hooks.progress import ProgressHook


class Watched(Screen):
    """A screen that remembers its bars and their calls."""

    def __init__(self):
        super().__init__()
        self.bars, self.told, self.closed = [], [], 0

    def bar(self, what, start, total):
        self.bars.append((what, start, total))
        watched = self

        class WatchedBar(Bar):
            def advance(self, done, loss=None):
                watched.told.append((done, loss))

            def close(self):
                watched.closed += 1

        return WatchedBar(start)


def test_the_bar_is_told_of_steps_and_losses():
    screen = Watched()
    hook = ProgressHook(screen, "train", "total_loss")
    hook.begin(4, 10)
    for number in (5, 6, 6, 7):
        hook.after_step(step(number, total_loss=np.float32(1.5)))
    hook.end()
    assert screen.bars == [("train", 4, 10)]
    assert screen.told == [(5, 1.5), (6, 1.5), (6, 1.5), (7, 1.5)]
    assert screen.closed == 1


def test_a_launch_of_several_loops_has_bars_to_its_own_end():
    screen = Watched()
    hook = ProgressHook(screen, "train", last=30)
    for start in (0, 10):
        hook.begin(start, start + 10)
        hook.after_step(step(start + 1))
        hook.end()
    assert screen.bars == [("train", 0, 30), ("train", 10, 30)]
    assert screen.told == [(1, None), (11, None)]


def test_a_loop_of_unknown_length_has_a_bar_too():
    screen = Watched()
    hook = ProgressHook(screen, "predict")
    hook.begin(0, None)
    hook.end()
    assert screen.bars == [("predict", 0, None)]


def test_an_end_without_a_beginning_is_fine():
    ProgressHook(Screen(), "train").end()
