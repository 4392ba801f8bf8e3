"""Weights for comparisons: the published names and shapes of a network's variables, and values for them."""

import numpy as np

from tests.model.oracle.numpy_resnet import DECAY, Network


def variable_shapes(spec, num_classes):
    """Returns the shapes of a network's variables by their published names."""
    shapes = _conv_bn_shapes(f"{spec.name}/conv2d", (7, 7, 3, spec.stem_width))
    channels = spec.stem_width
    for stage, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True)):
        wide = width * spec.expansion
        for block in range(blocks):
            kind = "basic" if spec.block == "basic" else "btlnck"
            scope = f"{spec.name}/{kind}_block_{stage}_{block}"
            if block == 0 and (stage > 0 or channels != wide):
                shapes |= _conv_bn_shapes(f"{scope}/shortcut/conv2d", (1, 1, channels, wide))
            if spec.block == "basic":
                shapes |= _conv_bn_shapes(f"{scope}/basic_1", (3, 3, channels, width))
                shapes |= _conv_bn_shapes(f"{scope}/basic_2", (3, 3, width, width))
            else:
                shapes |= _bottleneck_shapes(scope, channels, width, wide, spec.cardinality)
            if spec.se_ratio:
                narrow, squeeze = wide // spec.se_ratio, "basic" if spec.block == "basic" else "bottleneck"
                shapes |= _dense_shapes(f"{scope}/{squeeze}_se_layer/dense", wide, narrow)
                shapes |= _dense_shapes(f"{scope}/{squeeze}_se_layer/dense_1", narrow, wide)
            channels = wide
    return shapes | _dense_shapes(f"{spec.name}/output/dense", channels, num_classes)


def _bottleneck_shapes(scope, channels, width, wide, groups):
    kernel = "conv2d/kernel" if groups == 1 else "bottleneck_2group_filter"
    return (
        _conv_bn_shapes(f"{scope}/bottleneck_1", (1, 1, channels, width))
        | _conv_bn_shapes(f"{scope}/bottleneck_2", (3, 3, width // groups, width), kernel)
        | _conv_bn_shapes(f"{scope}/bottleneck_3", (1, 1, width, wide))
    )


def _conv_bn_shapes(scope, shape, kernel="conv2d/kernel"):
    kinds = ("gamma", "beta", "moving_mean", "moving_variance")
    return {f"{scope}/{kernel}": shape} | {f"{scope}/BatchNorm/{kind}": shape[3:] for kind in kinds}


def _dense_shapes(scope, inputs, units):
    return {f"{scope}/kernel": (inputs, units), f"{scope}/bias": (units,)}


def random_weights(shapes, seed):
    """Draws float32 weights that keep activations near 1 at any depth, with batch-norm constants far from 0 and 1."""
    generator = np.random.default_rng(seed)
    return {name: _draw(name, shape, generator).astype(np.float32) for name, shape in shapes.items()}


def _draw(name, shape, generator):
    kind = name.rpartition("/")[2]
    if kind == "gamma":  # smaller at the end of a residual: up to a hundred of them add up
        return (0.3 if _ends_a_residual(name) else 1.0) * generator.uniform(0.5, 1.5, shape)
    if kind == "moving_variance":
        return generator.uniform(0.5, 2.0, shape)
    normal = generator.standard_normal(shape, np.float32)
    if kind in ("beta", "moving_mean", "bias"):
        return 0.2 * normal
    return normal * np.sqrt(2 / np.prod(shape[:-1]))


def _ends_a_residual(name):
    return "/bottleneck_3/" in name or "/basic_2/" in name


def decided_weights(spec, num_classes, images, seed):
    """Draws random weights for which hardly any ReLU has an input near 0.

    A gradient jumps where a ReLU's input changes sign, and among a million inputs a few are so close to 0 that
    float32's rounding flips their sign. One flip in a map of 10,000 moves gradients by a hundredth. Here a channel's
    shift is therefore three to four times its scale: the channel is nearly always on or nearly always off, in a
    residual and in the shortcut alike. Moving statistics are near those of ``images``.
    """
    generator = np.random.default_rng(seed)
    weights = random_weights(variable_shapes(spec, num_classes), seed)
    for name, array in weights.items():
        scope, _, kind = name.rpartition("/")
        if kind == "beta":
            gamma = weights[f"{scope}/gamma"]
            weights[name] = _sign(spec, name, array.size) * gamma * generator.uniform(3, 4, array.shape)
            block = scope.rpartition("/")[0].rpartition("/")[0]
            projected = f"{block}/shortcut/conv2d/conv2d/kernel" in weights
            if _ends_a_residual(name) and not projected:  # channels that are on need not rise further
                gamma *= 0.3
                weights[name] = np.where(_sign(spec, name, array.size) > 0, 0.1, 0.3) * weights[name]
        elif name.endswith("_se_layer/dense/bias"):
            weights[name] = generator.choice([-1.0, 1.0], array.shape) * generator.uniform(4, 6, array.shape)
        elif "_se_layer" in name and kind == "kernel":
            weights[name] = 0.5 * array
    return _calibrated(spec, {name: array.astype(np.float32) for name, array in weights.items()}, images, generator)


def _sign(spec, name, channels):
    """Returns 1 for channels that are on and -1 for those that are off, the same for all terms added up in a stage.

    The first stage of basic blocks adds to the unchanged output of the stem.
    """
    stage = name.split("/")[1].rpartition("_")[0]
    shared = _ends_a_residual(name) or "shortcut" in name
    if spec.block == "basic" and name.startswith(f"{spec.name}/conv2d/"):
        stage, shared = "basic_block_0", True
    generator = np.random.default_rng(list((stage if shared else name).encode()))
    return np.where(generator.random(channels) < 0.7, 1.0, -1.0)


def _calibrated(spec, weights, images, generator):
    """Returns the weights with moving statistics within a tenth of the batch's."""
    still = {name: np.zeros_like(array) if "/moving_" in name else array for name, array in weights.items()}
    network = Network(spec, still, training=True)
    network.logits(images)
    batch = {name: array / (1 - DECAY) for name, array in network.moved.items()}
    for name in batch:
        noise = generator.uniform(-0.1, 0.1, batch[name].shape)
        if name.endswith("/moving_mean"):
            batch[name] += noise * np.sqrt(batch[name.replace("moving_mean", "moving_variance")])
        else:
            batch[name] *= 1 + noise
    return weights | {name: array.astype(np.float32) for name, array in batch.items()}
