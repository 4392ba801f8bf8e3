"""Converts COCO annotations and images to TFRecords: ``python -m tools.create_coco_tfrecord --help``."""

from __future__ import annotations

import sys

from tools.convert.coco_command import main

if __name__ == "__main__":
    sys.exit(main())
