"""Launches that the tests of bad input share."""

from pathlib import Path

from tests.runtime.runs import CLASSES, Run, network, run, write_split
from utils.errors import UsageError
from utils.records.manifest import Manifest, Split, write_manifest

FAILED, USAGE = 1, 2
FIRST_SHARD = "train-00000-of-00002"


def launch(*arguments) -> Run:
    """Launches main.py in this process; a usage error becomes its exit status and message."""
    try:
        return run(*arguments)
    except UsageError as error:
        return Run(USAGE, [], "", str(error))


def train_on(data, results, *more) -> Run:
    return launch(*network(data, results, "train"), "--batch_size=4", "--lr_warmup_epochs=0", "--seed=3", *more)


def assert_ends(result: Run, status: int, *words) -> None:
    """Asserts the status, a last line on standard error that holds all words, and no traceback."""
    assert result.status == status, result.error
    sentence = result.error.splitlines()[-1]
    for word in words:
        assert str(word) in sentence
    assert "Traceback" not in result.error + result.output


def write_examples(folder: Path, split: str, examples: list[bytes], classes=CLASSES) -> Path:
    """Writes a data set with a manifest and one split in one file."""
    folder.mkdir()
    shards = tuple(write_split(folder, split, examples, 1))
    manifest = Manifest(
        class_names=classes, class_count=len(classes), head_size=len(classes), splits={split: Split(shards=shards)}
    )
    write_manifest(folder, manifest)
    return folder
