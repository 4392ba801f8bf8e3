"""Tests that need TensorFlow's CUDA build, but no GPU; bash tests/gpu/run.sh makes an environment with it."""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def cuda_build():
    """Returns whether TensorFlow has GPU kernels, without loading it."""
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        return False
    facts = Path(found.origin).parent / "python" / "platform" / "build_info.py"
    return "'is_cuda_build', True" in facts.read_text(encoding="utf-8")


def pytest_collection_modifyitems(items):
    if not cuda_build():
        reason = pytest.mark.skip(reason="needs TensorFlow's CUDA build: bash tests/gpu/run.sh")
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(reason)
