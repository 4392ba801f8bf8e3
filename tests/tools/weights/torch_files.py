"""Makes files like those of ``torch.save`` without PyTorch, by pickling stand-ins under the names of its classes."""

import collections
import io
import pickle
import sys
import types
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Tensor:
    """An array to pickle as a PyTorch tensor.

    Args:
        array: The values.
        storage: PyTorch's name of the storage class (default: by the array's type).
        layout: Offset, shape and strides to write to the file (default: those of the array).
    """

    def __init__(self, array, storage=None, layout=None):
        self.array = np.asarray(array)
        self.storage = storage or STORAGES[self.array.dtype.name]
        strides = tuple(step // self.array.itemsize for step in np.empty(self.array.shape, self.array.dtype).strides)
        self.layout = layout or (0, self.array.shape, strides)


class Parameter(Tensor):
    """A tensor saved as a parameter of a module."""


def save(path, content, *, root="archive", compressed=False, byteorder=b"little", drop=()):
    """Writes ``content``, in which each ``Tensor`` becomes a tensor."""
    buffer = io.BytesIO()
    with _stand_ins():
        pickler = _Pickler(buffer)
        pickler.dump(content)
    write_archive(
        path,
        {
            "data.pkl": buffer.getvalue(),
            "byteorder": byteorder,
            "version": b"3\n",
            **{f"data/{key}": raw for key, raw in pickler.storages.items() if key not in drop},
        },
        root=root,
        compressed=compressed,
    )
    return path


def write_archive(path, parts, *, root="archive", compressed=False):
    """Writes a zip archive of these parts."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, raw in parts.items():
            archive.writestr(f"{root}/{name}", raw)
    return path


class _Storage:
    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class _Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = {}

    def persistent_id(self, value):
        if isinstance(value, _Storage):
            return ("storage", getattr(sys.modules["torch"], value.kind), value.key, "cpu", value.count)
        return None

    def reducer_override(self, value):
        if not isinstance(value, Tensor):
            return NotImplemented
        utils = sys.modules["torch._utils"]
        if isinstance(value, Parameter):
            return utils._rebuild_parameter, (Tensor(value.array), True, collections.OrderedDict())
        key = str(len(self.storages))
        self.storages[key] = value.array.tobytes()
        storage = _Storage(value.storage, key, value.array.size)
        return utils._rebuild_tensor_v2, (storage, *value.layout, False, collections.OrderedDict())


class _stand_ins:  # noqa: N801
    """Modules under PyTorch's names while a file is pickled with references to them."""

    def __enter__(self):
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        for name in (*STORAGES.values(), "BFloat16Storage"):
            setattr(torch, name, type(name, (), {"__module__": "torch"}))
        for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            setattr(utils, name, _function(name))
        torch._utils = utils
        self._before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
        sys.modules |= {"torch": torch, "torch._utils": utils}

    def __exit__(self, *_):
        for name, module in self._before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _function(name):
    def stand_in(*_):
        raise AssertionError("only its name is pickled")

    stand_in.__module__, stand_in.__qualname__, stand_in.__name__ = "torch._utils", name, name
    return stand_in
