"""Trains timm's resnet18 with made-up gradients; needs an interpreter with torch and timm.

    python tests/tools/weights/optimizer_side.py make OPTIMIZER FOLDER         two steps, ``last.pth.tar``, and a third
    python tests/tools/weights/optimizer_side.py resume OPTIMIZER FOLDER FILE  the third step, from FILE

OPTIMIZER is timm's name. The weights after the third step go to ``FOLDER/<make or resume>.npz``.
"""

import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[3]))  # where it is started by its path

CLASSES, RATE, DECAY = 3, 0.01, 0.1


def gradient(name, step, shape):
    """The gradient of a parameter in timm's layout; the squares of some exceed others' by far."""
    return np.random.default_rng([zlib.crc32(name.encode()), step]).normal(size=shape).astype(np.float32)


def main(what, optimizer_name, folder, file=None):
    import torch

    from tools.measure.compare.timm_network import create

    torch.set_num_threads(2)
    torch.manual_seed(1)
    network = create("resnet18", CLASSES)
    from timm.optim import create_optimizer_v2

    optimizer = create_optimizer_v2(network, opt=optimizer_name, lr=RATE, weight_decay=DECAY, momentum=0.9)
    if file is not None:
        stored = torch.load(file, weights_only=True)
        print(network.load_state_dict(stored["state_dict"], strict=True))
        optimizer.load_state_dict(stored["optimizer"])
    for step in range(2 if file else 0, 3):
        if step == 2 and file is None:
            state = {"epoch": 1, "arch": "resnet18", "state_dict": network.state_dict(), "version": 2}
            torch.save({**state, "optimizer": optimizer.state_dict()}, f"{folder}/last.pth.tar")
        for name, parameter in network.named_parameters():
            parameter.grad = torch.from_numpy(gradient(name, step, tuple(parameter.shape)))
        optimizer.step()
    after = {name: parameter.detach().numpy() for name, parameter in network.named_parameters()}
    np.savez(f"{folder}/{what}.npz", **after)


if __name__ == "__main__":
    main(*sys.argv[1:])
