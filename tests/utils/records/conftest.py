"""Fixtures for the tests of the manifest."""

import pytest

from tests.utils.records.records import write_records
from utils.records.manifest import Manifest, ShardFile, Split, write_manifest


@pytest.fixture
def folder(tmp_path):
    """A data folder with a manifest: 3 + 0 + 2 training examples and 4 for validation."""
    splits = {}
    for split, counts in (("train", (3, 0, 2)), ("validation", (4,))):
        names = [f"{split}-{index:05d}-of-{len(counts):05d}" for index in range(len(counts))]
        splits[split] = Split(
            shards=tuple(
                ShardFile(file=name, examples=count, bytes=write_records(tmp_path / name, count), sha256="ab" * 32)
                for name, count in zip(names, counts, strict=True)
            )
        )
    write_manifest(tmp_path, Manifest(class_names=("cat", "dög"), class_count=2, head_size=3, splits=splits))
    return tmp_path
