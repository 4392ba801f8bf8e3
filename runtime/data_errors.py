"""Converts TensorFlow's errors about data and memory to sentences that name the file and the flag."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import tensorflow as tf

from utils.dali_utils import FAILURE
from utils.errors import OUT_OF_MEMORY, RunError, reason
from utils.records.manifest import SplitFiles
from utils.records.tfrecord_file import find_bad_record
from utils.system.shared_memory import LOST

SEARCH_S = 20
"""Longest search for a damaged record, during which the other processes wait."""


@contextmanager
def readable_data_errors(splits: Mapping[str, SplitFiles], place: Callable[[], str]) -> Iterator[None]:
    """Raises ``RunError`` instead of TensorFlow's errors about damaged records and exhausted memory.

    Args:
        splits: The record files by split.
        place: Returns the place in the run, for the message.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        raise RunError(f"{_damaged_record(splits, reason(error))}; {place()}") from error
    except tf.errors.UnknownError as error:
        found = re.search(rf"{FAILURE}: .*", str(error))
        if found is not None:
            why = f"--dali: {found.group()}; leave out the flag to read the data with TensorFlow; {place()}"
            raise RunError(why) from error
        _raise_lost_process(error)
    except tf.errors.ResourceExhaustedError as error:
        why = f"a smaller --batch_size or --image_size needs less ({reason(error)})"
        raise RunError(f"{OUT_OF_MEMORY}: {why}") from error
    except tf.errors.OpError as error:
        _raise_lost_process(error)


def _raise_lost_process(error: tf.errors.OpError) -> NoReturn:
    if LOST in error.message:
        raise RunError(LOST) from error
    if "horovod" not in error.message.lower():
        raise error
    raise RunError(f"{LOST} ({reason(error)})") from error


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
