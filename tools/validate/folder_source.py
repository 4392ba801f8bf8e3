"""Image folders as a source, laid out as ``tools.convert`` reads them (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.convert.shard_writer import read_source
from tools.convert.source_layout import read_sources
from tools.convert.sources import ImageSource, subfolders
from tools.validate.decoded_image import digest_of
from tools.validate.findings import Finding, Place
from tools.validate.scan import FileUnit, ScannedImage, ScanUnit, chunks
from utils.errors import RunError
from utils.images.image_files import UnreadableImage


class FolderSource:
    """A folder with ``train/<class>/*`` and ``validation/<class>/*``, class folders alone, or ImageNet's archives.

    Args:
        path: The folder.
        validation_labels: The labels of a validation folder or tar file without class folders.

    Raises:
        RunError: It holds no classes, or a validation class that training lacks.
        UsageError: Its validation images need labels.
    """

    what = "image folders for classification"
    task = "classification"

    def __init__(self, path: Path, validation_labels: Path | None = None) -> None:
        self.path = path
        found = read_sources(path, validation_labels=validation_labels)
        self.classes: Mapping[int, str] = dict(enumerate(found.class_folders))
        here = Place(str(path), "", path.name)
        self.findings = [Finding("layout", here, note) for note in found.notes]
        labels = {name: label for label, name in self.classes.items()}
        self._images: dict[tuple[str, str], ImageSource] = {}
        self._units: list[ScanUnit] = []
        for split, classes in found.splits.items():
            images = [(image, labels[name]) for name, many in classes.items() for image in many]
            self._images |= {(split, image.name): image for image, _ in images}
            for part in chunks(len(images)):
                some, theirs = zip(*images[part], strict=True)
                self._units.append(
                    FileUnit(root=path, source=str(path), split=split, images=tuple(some), labels=tuple(theirs))
                )
        self._class_folders = [
            place.relative_to(path) / name
            for place in found.folders_read
            if place.is_dir()
            for name in subfolders(place)
        ]

    def units(self) -> Sequence[ScanUnit]:
        return self._units

    def repair(self, out: Path, images: Sequence[ScannedImage], dropped: frozenset[Place]) -> None:
        """Copies the kept images and creates all class folders; images from archives become files.

        Raises:
            RunError: An image cannot be read any more, has changed since the scan, or has the place of another one.
        """
        for folder in self._class_folders:
            (out / folder).mkdir(parents=True, exist_ok=True)
        for one in images:
            if one.place.source == str(self.path) and one.place not in dropped:
                target = out / one.place.file
                target.parent.mkdir(parents=True, exist_ok=True)
                self._copy(one, target)

    def _copy(self, one: ScannedImage, target: Path) -> None:
        try:
            data = read_source(self.path, self._images[one.place.split, one.place.file])
        except UnreadableImage as error:
            raise RunError(f"{self.path}: {error}") from error
        if digest_of(data) != one.digest:
            raise RunError(f"{self.path}: {one.place} changed while it was copied")
        try:
            with target.open("xb") as file:
                file.write(data)
        except FileExistsError as error:
            raise RunError(f"{self.path}: two images of the copy are named {one.place}") from error
