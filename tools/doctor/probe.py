"""Probes, and the process that runs them one after another (no TF).

A probe is a function without arguments, or of one text. It returns a ``ProbeResult``, raises ``Missing`` if there is
nothing to try or ``Skipped`` if this machine cannot try it, and raises any other exception if the part does not work.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from utils.errors import reason

OK, MISSING, SKIPPED, BROKEN = "ok", "missing", "skipped", "broken"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a successful probe: a phrase for people, and values for JSON."""

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Missing(Exception):  # noqa: N818  (a missing optional part is no error)
    """The part to try is not installed, or not part of this machine."""


class Skipped(Exception):  # noqa: N818  (another machine can try it)
    """This machine lacks the hardware that the trial needs."""


def version_of(*distributions: str, how: str) -> str:
    """The version of the first installed distribution.

    Raises:
        Missing: None is installed; ``how`` says how to get it.
    """
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise Missing(f"not installed; {how}")


def serve() -> None:
    """Runs the probe named on each input line, and answers each with a line of JSON.

    A probe is named "module:function", or "module:function:text" if it takes a text.

    The output of the probes themselves goes to standard error.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            print(json.dumps(_answer(line.strip())), file=answers, flush=True)


def _answer(probe: str) -> dict[str, Any]:
    started = time.monotonic()
    state, text, facts = _tried(probe)
    return {"state": state, "text": text, "facts": facts, "seconds": round(time.monotonic() - started, 1)}


def _tried(probe: str) -> tuple[str, str, dict[str, Any]]:
    module, function, *texts = probe.split(":")
    try:
        found: ProbeResult = getattr(importlib.import_module(module), function)(*texts)
    except Missing as missing:
        return MISSING, str(missing), {}
    except Skipped as skipped:
        return SKIPPED, str(skipped), {}
    except BaseException as error:  # a package that is broken may raise anything, SystemExit too
        return BROKEN, f"{type(error).__name__}: {' '.join(reason(error).split())}", {}
    return OK, found.text, dict(found.facts)
