"""Small fault-free data sets, ways to damage them, and the command run on them."""

import json

from tests.object_detection.tiny_coco import tiny_split
from tests.tools.convert.converting import convert
from tests.utils.tiny_images import jpeg, two_classes, write_files
from tools.convert.coco_command import main as convert_coco
from tools.validate.__main__ import main
from utils.records.example_proto import decode_example, encode_example
from utils.records.manifest import read_manifest
from utils.records.tfrecord_file import framed, iterate_payloads, locate_records


def validate(*arguments, tmp_path, workers=1):
    """Runs the command; returns its exit status and its findings from the JSON file."""
    report = tmp_path / "report.json"
    report.unlink(missing_ok=True)
    status = main([*map(str, arguments), f"--json={report}", f"--workers={workers}"])
    return status, json.loads(report.read_text())["findings"] if report.exists() else None


def kinds(findings, severity="fault"):
    """The kinds of the findings with a severity."""
    return {finding["kind"] for finding in findings if finding["severity"] == severity}


def labelled(root):
    """Writes records of two classes: 12 for training in 2 files, 6 for validation."""
    two_classes(root / "images")
    assert convert(root / "images", root / "records", "--train_shards", "2") == 0
    return root / "records"


def with_objects(root):
    """Writes records of six training and six validation images with up to two objects each."""
    flags = [*tiny_split(root, "train"), *other_split(root)]
    assert convert_coco([*flags, f"--output_dir={root / 'records'}", "--workers=1"]) == 0
    return root / "records"


def other_split(root):
    """Writes a validation split with images that training lacks; returns the converter's flags for it."""
    flags = tiny_split(root, "val")
    write_files(root / "val", {f"{index}.jpg": jpeg(100 + index) for index in range(6)})
    return flags


def payloads(file):
    """The records of a file."""
    return [payload for payload, _ in iterate_payloads(file, locate_records(file)[0])]


def write(file, records):
    """Writes a file of these records."""
    file.write_bytes(b"".join(map(framed, records)))


def spoil(file, number, **changed):
    """Changes features of one record; None removes a feature. Double underscores in names stand for slashes."""
    records = payloads(file)
    features = decode_example(records[number])
    features |= {name.replace("__", "/"): value for name, value in changed.items()}
    records[number] = encode_example({name: value for name, value in features.items() if value is not None})
    write(file, records)


def as_it_is(folder):
    """Updates the manifest to the current files, so that the planted fault is the only one."""
    path = folder / "dataset.json"
    content = json.loads(path.read_text())
    for split in content["splits"].values():
        for shard in split["shards"]:
            file = folder / shard["file"]
            shard |= {"examples": len(locate_records(file)[0]), "bytes": file.stat().st_size, "sha256": None}
        split["examples"] = sum(shard["examples"] for shard in split["shards"])
    path.write_text(json.dumps(content))
    assert read_manifest(folder) is not None


def files(folder, split="train"):
    """The record files of a split."""
    return sorted(path for path in folder.iterdir() if path.name.startswith((f"{split}-", f"coco_{split}")))
