"""Counting and reporting bad records."""

import logging

import numpy as np
import pytest

from tests.runtime.processes import ALONE
from tests.utils.hooks.steps import step
from utils.errors import RunError
from utils.hooks.bad_records import BadRecordHook
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE


def hook(allowed):
    return BadRecordHook(allowed, lambda index, status: f"file, record {index}: fault {status}", ALONE)


def batch(*rows):
    status, index = np.array(rows).T
    return step(1, status=status, index=index)


def test_real_examples_and_padding_are_not_bad():
    watcher = hook(0)
    watcher.after_step(batch((STATUS_OK, 3), (STATUS_PADDING, -1), (STATUS_PADDING, -1)))
    assert watcher.found == {}


@pytest.mark.parametrize("status", [STATUS_UNDECODABLE, STATUS_BAD_LABEL])
def test_the_first_bad_record_ends_a_run_that_allows_none(status):
    with pytest.raises(RunError) as raised:
        hook(0).after_step(batch((STATUS_OK, 3), (status, 7)))
    allowed = "1 bad record, 0 allowed (--max_bad_records)"
    assert str(raised.value) == f"file, record 7: fault {status}; {allowed}, in step 1"


def test_allowed_ones_are_reported_once_each_however_often_they_come(caplog):
    watcher = hook(2)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watcher.after_step(batch((STATUS_UNDECODABLE, 7), (STATUS_BAD_LABEL, 9), (STATUS_OK, 1)))
    assert caplog.messages == ["file, record 7: fault 2; skipped", "file, record 9: fault 3; skipped"]


def test_the_run_ends_with_the_first_one_too_many(caplog):
    watcher = hook(2)
    watcher.after_step(batch((STATUS_UNDECODABLE, 7), (STATUS_UNDECODABLE, 8)))
    watcher.after_step(batch((STATUS_UNDECODABLE, 8)))
    with pytest.raises(RunError, match=r"record 5: fault 2; 3 bad records, 2 allowed \(--max_bad_records\)"):
        watcher.after_step(batch((STATUS_OK, 0), (STATUS_UNDECODABLE, 5)))
