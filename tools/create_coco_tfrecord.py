"""Converts COCO annotations and images to TFRecords: ``python -m tools.create_coco_tfrecord --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

from tools.convert.coco_command import main

if __name__ == "__main__":
    sys.exit(main())
