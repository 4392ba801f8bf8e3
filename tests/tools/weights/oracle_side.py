"""Makes networks of timm and torchvision with weights to import; needs an interpreter with torch and timm.

    python tests/tools/weights/oracle_side.py --check                    fails without torch, timm and safetensors
    python tests/tools/weights/oracle_side.py NAME PIXELS.npy FOLDER     NAME as timm's, or torchvision/<its name>

PIXELS holds images [N, H, W, 3] in 0..255. FOLDER gets ``weights.safetensors``, ``weights.pth`` and ``logits.npy``
[N, K]. The weights are random; the batch-norm statistics are those of the images.
"""

import sys
from pathlib import Path

import numpy as np

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SEED = 1
THREADS = 2


def create(name):
    """The network, with the stand-in for torchvision that timm may need."""
    library, _, model = name.rpartition("/")
    if library == "torchvision":
        import torchvision

        return getattr(torchvision.models, model)(weights=None)
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from tools.measure.compare import timm_network

    timm_network.create("resnet50", 2)  # imports timm, with or without torchvision
    import timm

    return timm.create_model(model, pretrained=False)


def randomize(network):
    """Sets weights far from the usual initial ones, but small at the end of residuals: a hundred of them add up."""
    import torch

    last = "bn3" if any(name.endswith("bn3") for name, _ in network.named_modules()) else "bn2"
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            scale = 0.3 if name.endswith(last) else 1.0
            torch.nn.init.uniform_(module.weight, 0.5 * scale, 1.5 * scale)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = None  # the mean over all batches
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, 0, module.in_features**-0.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)


def main(name, pixels, folder):
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    images = (np.load(pixels) - np.float32(MEAN)) / np.float32(STD)
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
    network = create(name)
    randomize(network)
    with torch.no_grad():
        network.train()(images)
        logits = network.eval()(images).numpy()
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(state, f"{folder}/weights.safetensors")
    torch.save({"epoch": 1, "state_dict": state}, f"{folder}/weights.pth")
    np.save(f"{folder}/logits.npy", logits)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        create("resnet50")
        import safetensors.torch  # noqa: F401
    else:
        main(*sys.argv[1:])
