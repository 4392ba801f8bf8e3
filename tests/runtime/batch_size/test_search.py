"""The search for the largest batch, on memories that are formulas."""

import itertools
import math
import random

import pytest

from runtime.batch_size.search import Fit, allowed, largest_fit


def search(need, most, room):
    """The result on a memory in which a batch needs ``need(batch)``, and the batches tried."""
    tried = []

    def attempt(batch):
        tried.append(batch)
        return need(batch) if need(batch) <= room else None

    return largest_fit(attempt, most, room), tried


def test_needs_on_a_line_are_foreseen_after_two_trials():
    """100 + 3 n within 100 + 3 * 104 + 2: 8 and 16 give the line, 64 is four times as much, 104 the last multiple."""
    found, tried = search(lambda batch: 100 + 3 * batch, 1024, 414)
    assert found == Fit(batch=104, need=412)
    assert tried == [8, 16, 64, 104]


@pytest.mark.parametrize("most", [1, 3, 5, 8, 20, 282, 1024])
def test_roomy_memory_takes_all_images_even_if_they_are_no_multiple(most):
    found, tried = search(lambda batch: 5 + batch, most, 1e9)
    assert found.batch == tried[-1] == most
    assert all(after <= 4 * before for before, after in itertools.pairwise(tried))


@pytest.mark.parametrize(("room", "batch"), [(15, 8), (7, 4), (3, 2), (1, 1), (0, None)])
def test_narrow_memory_takes_a_power_of_two_or_nothing(room, batch):
    found, _ = search(lambda batch: batch, 1024, room)
    assert (found and found.batch) == batch


@pytest.mark.parametrize("limit", [8, 100, 129, 500, 1023])
def test_without_needs_batches_grow_until_one_does_not_fit(limit):
    tried = []

    def attempt(batch):
        tried.append(batch)
        return 0.0 if batch <= limit else None

    found = largest_fit(attempt, 1024, math.inf)
    assert limit * 7 // 8 - 8 < found.batch <= limit
    assert found.batch % 8 == 0
    assert len(tried) <= 10


def test_the_result_was_tried_and_nothing_much_larger_fits():
    draw = random.Random(1)
    for _ in range(300):
        fixed, each, bend = draw.uniform(0, 1e3), draw.uniform(0.1, 50), draw.choice([0, draw.uniform(-0.01, 0.05)])
        most, limit = draw.randint(1, 1024), draw.randint(1, 1500)

        def need(batch, fixed=fixed, each=each, bend=bend):
            return fixed + each * batch * (1 + bend * batch / 100)

        found, tried = search(need, most, need(limit))
        assert found.batch in tried
        assert found.batch <= limit
        assert found.batch >= min(allowed(limit, most), most) * 7 / 8 - 8
        assert len(tried) == len(set(tried)) <= 12


def test_batches_are_powers_of_two_multiples_of_eight_or_all():
    assert [allowed(count, 21) for count in (0.5, 1, 3, 7.9, 8, 15, 20.9, 21, 99)] == [0, 1, 2, 4, 8, 8, 16, 21, 21]
