"""Writes the table of GPU kernels anew, with TensorFlow's CUDA build: ``.venv-gpu/bin/python -m tests.gpu.record``."""

from __future__ import annotations

import sys

from tests.gpu.graphs import TINY_CASES, build, staging_of_device_images
from tests.gpu.kernels import RECORDED, KernelTable, is_cuda_build, registered_kernels
from tests.gpu.placement import operations
from tests.runtime.runs import tiny_networks


def used_kernels() -> KernelTable:
    """The kernels of all operations in the graphs of tiny networks, and of placeholders, which tests feed."""
    found = {"Placeholder"}
    with tiny_networks():
        for case in TINY_CASES:
            found |= operations(*build(case))
    found |= operations(*staging_of_device_images())
    return registered_kernels(sorted(found))


def main() -> int:
    if not is_cuda_build():
        print("this TensorFlow has no GPU kernels; tests/gpu/run.sh makes an environment with its CUDA build")
        return 1
    RECORDED.write_text(used_kernels().to_json(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
