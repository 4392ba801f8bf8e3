"""Runs timm's networks with our weights. Needs an interpreter with torch and timm; imports both only when used.

    python tests/model/oracle/timm_side.py --check              prints the versions
    python tests/model/oracle/timm_side.py INPUT.npz OUTPUT.npz

INPUT holds "name", "images" [N, H, W, 3], "cotangent" [N, K], and our variables as "weights/<variable>".

OUTPUT holds the results of a pass in inference mode and one in training mode: "<mode>/logits"; the gradients of
sum(logits * cotangent), "<mode>/gradients/<variable>"; and the running statistics after the pass,
"<mode>/moved/<variable>", with our names and shapes. Everything is computed in float64.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[3]))  # where it is started by its path

from tools.measure.compare.timm_network import create

EPSILON = 1.001e-5
MOMENTUM = 0.1
PARTS = {"bottleneck_1": ("conv1", "bn1"), "bottleneck_2": ("conv2", "bn2"), "bottleneck_3": ("conv3", "bn3")}
PARTS |= {"basic_1": ("conv1", "bn1"), "basic_2": ("conv2", "bn2")}
STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def timm_key(variable):
    """Returns the key of one of our variables in timm's state."""
    _, *scopes, kind = variable.split("/")
    if scopes == ["output", "dense"]:
        return f"fc.{_leaf(kind)}"
    prefix = ""
    if "_block_" in scopes[0]:
        stage, block = scopes[0].partition("_block_")[2].split("_")
        prefix, scopes = f"layer{int(stage) + 1}.{block}.", scopes[1:]
    if scopes[0].endswith("_se_layer"):
        return f"{prefix}se.{'fc1' if scopes[1] == 'dense' else 'fc2'}.{_leaf(kind)}"
    conv, norm = ("downsample.0", "downsample.1") if scopes[0] == "shortcut" else PARTS.get(scopes[0], ("conv1", "bn1"))
    return f"{prefix}{norm if scopes[-1] == 'BatchNorm' else conv}.{_leaf(kind)}"


def _leaf(kind):
    return STATISTICS.get(kind, "bias" if kind == "bias" else "weight")


def to_timm(array, shape):
    """Converts our array to timm's layout: kernels [H, W, in, out] to [out, in, H, W], dense [in, out] to [out, in]."""
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2:
        array = array.T
    return np.ascontiguousarray(array).reshape(shape)


def to_ours(array, shape):
    """Inverts ``to_timm``."""
    if len(shape) == 4:
        return array.transpose(2, 3, 1, 0)
    return array.reshape(array.shape[:2]).T if len(shape) == 2 else array


def use_same_padding(network):
    """Pads stride-2 layers as TensorFlow does, odd padding at the bottom and right; other layers pad symmetrically."""
    import torch

    class Same(torch.nn.Module):
        def __init__(self, layer, fill):
            super().__init__()
            self.layer, self.fill = layer, fill
            self.size, self.stride = (_first(value) for value in (layer.kernel_size, layer.stride))
            layer.padding = 0 if isinstance(layer, torch.nn.MaxPool2d) else (0, 0)

        def forward(self, x):
            totals = [max((-(-n // self.stride) - 1) * self.stride + self.size - n, 0) for n in x.shape[-1:-3:-1]]
            padding = [part for total in totals for part in (total // 2, total - total // 2)]
            return self.layer(torch.nn.functional.pad(x, padding, value=self.fill))

    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.MaxPool2d):
                setattr(module, name, Same(child, float("-inf")))
            elif isinstance(child, torch.nn.Conv2d) and child.stride[0] > 1 and child.kernel_size[0] > 1:
                setattr(module, name, Same(child, 0.0))


def _first(value):
    return value[0] if isinstance(value, tuple) else value


def prepare(name, weights):
    """Returns the network in float64 with our weights and constants, and its parameters and buffers by our names."""
    import torch

    network = create(name, weights[f"{name}/output/dense/bias"].size).double()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps, module.momentum = EPSILON, MOMENTUM
    places = dict(network.named_parameters()) | dict(network.named_buffers())
    state = {key: tensor for key, tensor in places.items() if not key.endswith("num_batches_tracked")}
    keys = {variable: timm_key(variable) for variable in weights}
    if sorted(keys.values()) != sorted(state):
        raise SystemExit(f"variables without a counterpart: {sorted(set(keys.values()) ^ set(state))}")
    with torch.no_grad():
        for variable, key in keys.items():
            state[key].copy_(torch.from_numpy(to_timm(weights[variable], state[key].shape)))
    use_same_padding(network)
    return network, {variable: state[key] for variable, key in keys.items()}


def main(source, target):
    import torch

    torch.set_num_threads(2)
    data = np.load(source)
    weights = {key.removeprefix("weights/"): data[key] for key in data.files if key.startswith("weights/")}
    network, places = prepare(str(data["name"]), weights)
    images = torch.from_numpy(data["images"].transpose(0, 3, 1, 2)).double()
    results = {}
    for mode in ("inference", "training"):
        network.train(mode == "training").zero_grad()
        logits = network(images)
        (logits * torch.from_numpy(data["cotangent"])).sum().backward()
        results[f"{mode}/logits"] = logits.detach().numpy()
        for variable, tensor in places.items():
            group, value = ("moved", tensor) if "/moving_" in variable else ("gradients", tensor.grad)
            ours = to_ours(value.detach().numpy(), weights[variable].shape)
            results[f"{mode}/{group}/{variable}"] = ours.astype(np.float32)
    np.savez(target, **results)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        create("resnet50", 10)
        print(" ".join(f"{name} {sys.modules[name].__version__}" for name in ("torch", "timm")))
    else:
        main(*sys.argv[1:])
