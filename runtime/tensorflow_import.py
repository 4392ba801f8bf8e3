"""Imports TensorFlow as the programs need it; the only module that sets environment variables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from runtime.environment import environment_of_tool, native_log_level
from utils.program import interrupts_kill
from utils.system.native_messages import without_chatter

_KERAS_VARIABLE = "TF_USE_LEGACY_KERAS"


def load_tensorflow(settings: Mapping[str, str] | None = None) -> None:
    """Imports TensorFlow without its start-up messages and Keras, after setting the environment, which it reads once.

    Nothing is under way yet, so Ctrl-C ends the program at once.

    Args:
        settings: Environment variables to set; None for those of a tool without a run of its own.
    """
    os.environ.update(environment_of_tool(os.environ) if settings is None else settings)
    with interrupts_kill(), without_chatter(native_log_level(os.environ)), _without_keras():
        import tensorflow  # noqa: F401  (loaded for the modules that use it)


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Has TensorFlow look for Keras 2, which is absent, instead of importing Keras 3 and the packages that it uses.

    Nothing here uses Keras. Libraries that do, such as Horovod, can import it afterwards.
    """
    if _KERAS_VARIABLE in os.environ:
        yield
        return
    os.environ[_KERAS_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[_KERAS_VARIABLE]
