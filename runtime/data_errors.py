"""Converts TensorFlow's errors about data and devices to sentences that name the file and the flag."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import tensorflow as tf

from runtime.devices.errors import device_failure
from utils.dali_utils import FAILURE
from utils.errors import RunError, reason
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import find_bad_record
from utils.system.shared_memory import LOST

SEARCH_S = 20
"""Longest search for a damaged record, during which the other processes wait."""


@contextmanager
def readable_data_errors(splits: Mapping[str, SplitFiles], place: Callable[[], str]) -> Iterator[None]:
    """Raises ``RunError`` instead of TensorFlow's errors about damaged records, GPUs, memory and other processes.

    Args:
        splits: The record files by split.
        place: Returns the place in the run, for the message.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        raise RunError(f"{_damaged_record(splits, reason(error))}; {place()}") from error
    except tf.errors.OpError as error:
        raise RunError(f"{_failure(error)}; {place()}") from error


def _failure(error: tf.errors.OpError) -> str:
    """A phrase for an error that is not about a record; raises an unknown error again."""
    found = re.search(rf"{FAILURE}: .*", error.message)
    if found is not None:
        return f"--dali: {found.group()}; leave out the flag to read the data with TensorFlow"
    failure = device_failure(error)
    if failure is not None:
        return failure
    if LOST in error.message:
        return LOST
    if "horovod" in error.message.lower():
        return f"{LOST} ({reason(error)})"
    raise error


def _damaged_record(splits: Mapping[str, SplitFiles], seen: str) -> str:
    deadline = time.monotonic() + SEARCH_S
    for path in (path for files in splits.values() for path in files.paths):
        if time.monotonic() > deadline:
            return (
                f"--data_dir: a record is damaged ({seen}), but was not found within {SEARCH_S} s; "
                "`python -m tools.validate` on the folder finds it"
            )
        found = find_bad_record(path)
        if found is not None:
            number, fault = found
            return f"{path}, record {number}: {fault}; write the file again (--data_dir)"
    return (
        "a record was damaged when read but is intact now: check the disk or network of --data_dir and, with "
        "--dali, the index files"
    )
