"""torchvision's side of ``input_readers``: a DataLoader with two workers on the images of TFRecords.

Reads the images from the records once, at the start, and serves them from memory; Pillow decodes whole images.
"""

import argparse
import io

import torch
from PIL import Image
from torchvision import transforms

from tests.benchmarks.common import THREADS, serve
from tests.benchmarks.example_images import images_of

MEAN_RGB, STD_RGB = (123.68, 116.28, 103.53), (58.395, 57.120, 57.385)


class Images(torch.utils.data.Dataset):
    """Encoded images, decoded and cropped on every access."""

    def __init__(self, encoded, size):
        self._encoded = encoded
        self._transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([m / 255 for m in MEAN_RGB], [s / 255 for s in STD_RGB]),
            ]
        )

    def __len__(self):
        return len(self._encoded)

    def __getitem__(self, number):
        return self._transform(Image.open(io.BytesIO(self._encoded[number])).convert("RGB"))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data_dir", required=True)
    arguments.add_argument("--batch_size", type=int, required=True)
    arguments.add_argument("--image_size", type=int, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(1)  # this process only collects; each worker has a thread of its own
    loader = torch.utils.data.DataLoader(
        Images(images_of(options.data_dir), options.image_size),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=THREADS,
        persistent_workers=True,
    )
    batches = endless(loader)

    def make(count):
        for _ in range(count):
            next(batches)

    serve(make, reader="torchvision", version=torch.__version__)


def endless(loader):
    """Yields batches, epoch after epoch."""
    while True:
        yield from loader


if __name__ == "__main__":
    main()
