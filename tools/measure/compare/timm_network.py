"""timm's networks by our names, with or without torchvision, which they do not use (no TF).

Needs an interpreter with torch and timm; imports both only when used.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any


def timm_name(name: str) -> str:
    """The name at timm for one of our architectures."""
    return name.replace("se-", "se").replace("-", "_")


def create(name: str, num_classes: int) -> Any:
    """Creates timm's network for one of our architectures."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        _stand_in_for_torchvision()
    import timm

    return timm.create_model(timm_name(name), num_classes=num_classes)


def _stand_in_for_torchvision() -> None:
    """Makes timm importable without torchvision."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[module]  # left behind by the failed import
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Anything(type):
    """A class that has every attribute, each one a class like it."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})
