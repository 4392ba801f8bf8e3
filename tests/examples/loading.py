"""The scripts of examples/ as modules; their folder is no package."""

import importlib.util

from tests.conftest import ROOT


def load_example(name):
    """The module of ``examples/<name>.py``, loaded anew."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
