"""Keeps packages from reporting their use to their makers (no TF)."""

from __future__ import annotations

import sys


def refuse_telemetry() -> None:
    """Keeps OpenVINO and NNCF, which report their use over the network unless told not to, from doing so.

    Call before importing them. They find their reporting package missing, which they allow.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes importing it fail
