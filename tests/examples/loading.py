"""Loading of the scripts in examples/ as modules, since their folder is not a package."""

import importlib.util

from tests.conftest import ROOT


def load_example(name):
    """Loads ``examples/<name>.py`` as a new module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
