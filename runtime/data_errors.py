"""Turns TensorFlow's errors about data and memory into sentences that name the file and the flag."""

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

SEARCH_S = 20
"""How long a damaged record is looked for, while the other processes of a run wait."""


@contextmanager
def readable_data_errors(splits: Mapping[str, SplitFiles], place: Callable[[], str]) -> Iterator[None]:
    """Raises ``RunError`` in place of the errors that damaged records and full memory cause.

    Args:
        splits: The files that records are read from.
        place: Says where in the run it happened.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        raise RunError(f"{_damaged_record(splits, reason(error))}; {place()}") from error
    except tf.errors.UnknownError as error:
        found = re.search(rf"{FAILURE}: .*", str(error))
        if found is not None:
            why = f"--dali: {found.group()}; without the flag TensorFlow reads the data; {place()}"
            raise RunError(why) from error
        _raise_of_horovod(error)
    except tf.errors.ResourceExhaustedError as error:
        why = f"a smaller --batch_size or --image_size needs less ({reason(error)})"
        raise RunError(f"{OUT_OF_MEMORY}: {why}") from error
    except tf.errors.OpError as error:
        _raise_of_horovod(error)


def _raise_of_horovod(error: tf.errors.OpError) -> NoReturn:
    if "horovod" not in error.message.lower():
        raise error
    raise RunError(f"another process of the run has ended, and this one with it ({reason(error)})") from error


def _damaged_record(splits: Mapping[str, SplitFiles], seen: str) -> str:
    deadline = time.monotonic() + SEARCH_S
    for path in (path for files in splits.values() for path in files.paths):
        if time.monotonic() > deadline:
            return (
                f"--data_dir: a record is damaged ({seen}), and was not found within {SEARCH_S} s; "
                "`python -m tools.validate` on the folder names it"
            )
        found = find_bad_record(path)
        if found is not None:
            number, fault = found
            return f"{path}, record {number}: {fault}; write the file again (--data_dir)"
    return (
        "a record was damaged when it was read, and is whole now: check the disk or network of --data_dir, and with "
        "--dali the index files"
    )
