"""Runs the download scripts against a server in this process."""

import io
import json
import os
import subprocess
import tarfile

import pytest

from tests.conftest import ROOT
from tests.download.coco_server import ARCHIVE, COUNTS, write_zip
from tests.object_detection.tiny_coco import annotation, content, image
from tests.range_server import RangeServer
from tests.utils.tiny_images import jpeg


@pytest.fixture
def server(tmp_path):
    """Serves the zip files of a tiny COCO and the archive of weights."""
    root = tmp_path / "server"
    annotations = {}
    for split, count in COUNTS.items():
        write_zip(
            root / "zips" / f"{split}.zip",
            {f"{split}/": b"", **{f"{split}/{index}.jpg": jpeg(index + len(split)) for index in range(count)}},
        )
        images = [image(index, f"{index}.jpg") for index in range(count)]
        annotations[split] = content(images, [annotation(1, 0, [1, 2, 3, 4])])
    del annotations["test2017"]["annotations"]
    folder = root / "annotations"
    write_zip(
        folder / "annotations_trainval2017.zip",
        {
            "annotations/instances_train2017.json": json.dumps(annotations["train2017"]),
            "annotations/instances_val2017.json": json.dumps(annotations["val2017"]),
            "annotations/captions_val2017.json": "{}",
        },
    )
    write_zip(
        folder / "image_info_test2017.zip",
        {"annotations/image_info_test-dev2017.json": json.dumps(annotations["test2017"])},
    )
    with tarfile.open(root / ARCHIVE, "w:gz") as archive:
        member = tarfile.TarInfo("resnet_v1_50.ckpt")
        member.size = 7
        archive.addfile(member, io.BytesIO(b"weights"))
    with RangeServer(root).running() as running:
        yield running


@pytest.fixture
def start(server, tmp_path):
    """Starts a script with the server's addresses and returns the process."""

    def do(script, *arguments, **environment):
        variables = {
            **os.environ,
            "COCO_URL": server.url,
            "RESNET_URL": f"{server.url}/{ARCHIVE}",
            "COCO_COUNTS": " ".join(map(str, COUNTS.values())),
            **environment,
        }
        command = ["bash", str(ROOT / script), *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    return do


@pytest.fixture
def run(start):
    """Runs a script and returns its exit status and its output."""

    def do(script, *arguments, **environment):
        with start(script, *arguments, **environment) as process:
            out, error = process.communicate(timeout=100)
        return process.returncode, out + error

    return do
