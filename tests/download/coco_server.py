"""Files that the tests of the download scripts serve: a data set laid out like COCO."""

import zipfile

COUNTS = {"train2017": 3, "val2017": 2, "test2017": 2}
ARCHIVE = "resnet_v1_50_2016_08_28.tar.gz"


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def requested(server):
    """The names of the files requested since the last call."""
    paths = [path.rsplit("/", 1)[1] for path, _ in server.requests]
    server.requests.clear()
    return paths
