"""Contestants of other programs: timm, torchvision's RetinaNet and torchvision's loader, in PyTorch (no TF).

Runs in the environment that requirements/oracle.txt describes: it needs the standard library, torch, timm, Pillow and,
for its own networks and loader, torchvision. ``main`` reads a description in JSON from the command line: its "entry" is
the name of a function below, the rest are the arguments of that function.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tools.measure.compare.protocol import from_empty, say, serve
from tools.measure.compare.timm_network import create

CLASSES, DETECTED_CLASSES = 1001, 91
OBJECTS = 7
"""Objects in an image of the detector's training."""
MEAN_RGB, STD_RGB = (123.68, 116.28, 103.53), (58.395, 57.120, 57.385)
RESIZED = 256


def main() -> None:
    """Runs the contestant that the command line describes."""
    description = json.loads(sys.argv[1])
    globals()[description.pop("entry")](**description)


def versions() -> None:
    """Says the versions of the packages, or the reason why one cannot be imported."""
    found: dict[str, dict[str, str]] = {"versions": {}, "errors": {}}
    for name in ("torch", "torchvision", "timm"):
        try:
            if name == "timm":
                create("resnet18", 2)  # with or without torchvision
            else:
                __import__(name)
            found["versions"][name] = str(sys.modules[name].__version__)
        except Exception as error:  # anything may come out of a library that does not fit the other
            found["errors"][name] = f"{type(error).__name__}: {error}".splitlines()[0]
            for module in [each for each in sys.modules if each.partition(".")[0] == name]:
                del sys.modules[module]
    say(found)


def _start(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch


def infer(arch: str, batch: int, image_size: int, precision: str, compiled: bool, threads: int) -> None:
    """A network of timm's in inference, channels last, weights in the compute type; frozen where it is compiled."""
    torch = _start(threads)
    network = create(arch, CLASSES).to(memory_format=torch.channels_last, dtype=getattr(torch, precision)).eval()
    images = torch.rand(batch, 3, image_size, image_size, dtype=getattr(torch, precision))
    images = images.contiguous(memory_format=torch.channels_last)
    run = _compiled(torch, network, frozen=True) if compiled else network
    found: list[Any] = []

    def work(steps: int) -> None:
        with torch.no_grad():
            for _ in range(steps):
                found[:] = [run(images)]

    work(1)
    serve(work, _facts(torch, precision) | _size(network) | {"output": list(found[0].shape)})


def train(arch: str, batch: int, image_size: int, precision: str, compiled: bool, threads: int) -> None:
    """A network of timm's in training on one random batch, channels last, by momentum SGD with weight decay."""
    torch = _start(threads)
    network = create(arch, CLASSES).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(batch, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,))
    run = _compiled(torch, network) if compiled else network

    def work(steps: int) -> None:
        for _ in range(steps):
            with _autocast(torch, precision):
                logits = run(images)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    serve(work, _facts(torch, precision) | _size(network))


def detector(what: str, batch: int, image_size: int, precision: str, threads: int) -> None:
    """The RetinaNet of torchvision, channels last, on a random batch, in training or in inference with suppression."""
    torch = _start(threads)
    import torchvision

    network = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=DETECTED_CLASSES, min_size=image_size, max_size=image_size
    ).to(memory_format=torch.channels_last)
    images = list(torch.rand(batch, 3, image_size, image_size))
    corner = torch.rand(batch, OBJECTS, 2) * 0.6 * image_size
    boxes = torch.cat([corner, corner + (0.1 + 0.3 * torch.rand(batch, OBJECTS, 2)) * image_size], dim=2)
    labels = torch.randint(1, DETECTED_CLASSES, (batch, OBJECTS))
    targets = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0001, momentum=0.9, weight_decay=4e-4)

    def learn(steps: int) -> None:
        for _ in range(steps):
            with _autocast(torch, precision):
                loss = sum(network(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    def detect(steps: int) -> None:
        with torch.inference_mode(), _autocast(torch, precision):
            for _ in range(steps):
                network(images)

    network.train(what == "train")
    facts = _facts(torch, precision)
    facts["version"] += f", torchvision {torchvision.__version__}"
    serve(learn if what == "train" else detect, facts)


def loader(folder: str, batch: int, image_size: int, threads: int) -> None:
    """The transforms of torchvision in a DataLoader with a process for each thread, on encoded images in memory."""
    torch = _start(1)  # this process only collects
    import torchvision
    from PIL import Image

    data: Any = torch.utils.data
    transforms = torchvision.transforms
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(image_size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([m / 255 for m in MEAN_RGB], [s / 255 for s in STD_RGB]),
        ]
    )
    encoded = [path.read_bytes() for path in sorted(Path(folder).iterdir())]

    class Images(data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(encoded)

        def __getitem__(self, number: int) -> Any:
            return transform(Image.open(io.BytesIO(encoded[number])).convert("RGB"))

    batches = _endless(
        data.DataLoader(
            Images(), batch_size=batch, shuffle=True, drop_last=True, num_workers=threads, persistent_workers=True
        )
    )
    facts = {"version": f"torch {torch.__version__}, torchvision {torchvision.__version__}"}
    serve(from_empty(lambda: next(batches)), facts)


def _endless(batches: Any) -> Iterator[Any]:
    """Yields batches, epoch after epoch."""
    while True:
        yield from batches


def state(arch: str, path: str) -> None:
    """Writes the weights of timm's network, and ends."""
    import torch

    torch.save(create(arch, CLASSES).state_dict(), path)


def predict(arch: str, weights: str, image: str, image_size: int, threads: int) -> None:
    """A script that classifies one image with timm's network and prints the five best classes."""
    torch = _start(threads)
    import numpy as np
    from PIL import Image

    network = create(arch, CLASSES)
    network.load_state_dict(torch.load(weights))
    with Image.open(image) as opened:
        scale = RESIZED / min(opened.size)
        resized = opened.convert("RGB").resize([round(scale * side) for side in opened.size], Image.Resampling.BILINEAR)
    left, top = ((side - image_size) // 2 for side in resized.size)
    pixels = np.asarray(resized.crop((left, top, left + image_size, top + image_size)), np.float32)
    pixels = ((pixels - MEAN_RGB) / STD_RGB).astype(np.float32)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(pixels.transpose(2, 0, 1)[None]))
    for probability, label in zip(*(found[0].tolist() for found in logits.softmax(1).topk(5)), strict=True):
        print(f"{label}: {probability:.4f}")


def _compiled(torch: Any, network: Any, *, frozen: bool = False) -> Callable[[Any], Any]:
    if frozen:
        config: Any = importlib.import_module("torch._inductor.config")
        config.freezing = True
    compiled: Callable[[Any], Any] = torch.compile(network)
    return compiled


def _autocast(torch: Any, precision: str) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()


def _facts(torch: Any, precision: str) -> dict[str, Any]:
    return {"version": f"torch {torch.__version__}", "precision": precision}


def _size(network: Any) -> dict[str, Any]:
    return {"parameters": sum(parameter.numel() for parameter in network.parameters())}
