"""Runs optimizers of torch and timm. Needs an interpreter with both; imports them only when used.

    python tests/utils/oracle/optimizers_side.py INPUT.npz OUTPUT.npz

INPUT holds "rates", one for each step, "decay", the starts of the weights as "start/<name>", and the noise
"noise/<name>", [steps, ...]. The gradient of a weight w is w / 2 + noise. Only kernels decay.

OUTPUT holds the weights after the last step as "<optimizer>/<name>", computed in float64.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[3]))  # where it is started by its path

from tools.measure.compare.timm_network import create


def makers():
    """The optimizers by our names, with the numbers that ours have by default, and whether the rate may change."""
    import torch

    create("resnet18", 2)  # imports timm, with or without torchvision
    from timm.optim import Lamb, Lars, RMSpropTF

    return {
        "momentum": (lambda groups, rate: torch.optim.SGD(groups, rate, 0.9), True),
        "nesterov": (lambda groups, rate: torch.optim.SGD(groups, rate, 0.9, nesterov=True), True),
        "adam": (lambda groups, rate: torch.optim.Adam(groups, rate), True),
        "adamw": (lambda groups, rate: torch.optim.AdamW(groups, rate), True),
        "lamb": (lambda groups, rate: Lamb(groups, rate), True),
        "lars": (lambda groups, rate: Lars(groups, rate, momentum=0.9), True),
        "rmsprop": (lambda groups, rate: RMSpropTF(groups, rate, alpha=0.9, eps=1e-10, momentum=0.9), True),
        "rmsprop of torch": (begun_at_1, False),
    }


def begun_at_1(groups, rate):
    """torch's RMSprop, whose mean of squares begins at 1 as TensorFlow's does."""
    import torch

    optimizer = torch.optim.RMSprop(groups, rate, alpha=0.9, eps=1e-10, momentum=0.9)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.state[weight] = {
                "step": torch.tensor(0.0),
                "square_avg": torch.ones_like(weight),
                "momentum_buffer": torch.zeros_like(weight),
            }
    return optimizer


def main(source, target):
    import torch

    data = np.load(source)
    names = [key.removeprefix("start/") for key in data.files if key.startswith("start/")]
    results = {}
    for optimizer_name, (make, changes) in makers().items():
        weights = {name: torch.nn.Parameter(torch.from_numpy(data[f"start/{name}"]).double()) for name in names}
        decays = {name: float(data["decay"]) if name.endswith("kernel") else 0.0 for name in names}
        groups = [{"params": [weights[name]], "weight_decay": decays[name]} for name in names]
        optimizer = make(groups, float(data["rates"][0]))
        for step, rate in enumerate(data["rates"]):
            for group in optimizer.param_groups:
                group["lr"] = float(rate if changes else data["rates"][0])
            for name, weight in weights.items():
                weight.grad = weight.detach() / 2 + torch.from_numpy(data[f"noise/{name}"][step]).double()
            optimizer.step()
        results |= {f"{optimizer_name}/{name}": weight.detach().numpy() for name, weight in weights.items()}
    np.savez(target, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
