"""The optimizers a second time, in NumPy, as the papers and PyTorch's and timm's documentation define them.

Each takes the number of the step from 1, the rate, the gradient, the weight and its slots (None at first), and returns
what to subtract from the weight and the new slots.
"""

import numpy as np

BETA2 = {"adam": 0.999, "adamw": 0.999, "lamb": 0.999, "rmsprop": 0.9}


def momentum(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    """Sutskever et al., 2013, without dampening."""
    gathered = momentum * (0.0 if slots is None else slots[0]) + gradient
    return rate * gathered, [gathered]


def nesterov(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    gathered = momentum * (0.0 if slots is None else slots[0]) + gradient
    return rate * (gradient + momentum * gathered), [gathered]


def _moments(step, gradient, slots, momentum, epsilon):
    first, second = slots or (0.0, 0.0)
    first, second = momentum * first + (1 - momentum) * gradient, 0.999 * second + 0.001 * gradient**2
    root = np.sqrt(second / (1 - 0.999**step))
    return first / (1 - momentum**step) / (root + epsilon), [first, second]


def adam(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    """Kingma and Ba, arXiv:1412.6980, algorithm 1."""
    change, slots = _moments(step, gradient, slots, momentum, 1e-8)
    return rate * change, slots


def adamw(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    """Loshchilov and Hutter, arXiv:1711.05101: PyTorch multiplies the weight by 1 - rate * decay first."""
    change, slots = _moments(step, gradient, slots, momentum, 1e-8)
    return weight - (weight * (1 - rate * decay) - rate * change), slots


def lamb(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    """You et al., arXiv:1904.00962; the caller clips the gradients."""
    change, slots = _moments(step, gradient, slots, momentum, 1e-6)
    if decay:
        change = change + decay * weight
        sizes = np.linalg.norm(weight), np.linalg.norm(change)
        change = change * (sizes[0] / sizes[1] if min(sizes) > 0 else 1.0)
    return rate * change, slots


def lars(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    """You et al., arXiv:1708.03888, with the trust coefficient 0.001."""
    if decay:
        sizes = np.linalg.norm(weight), np.linalg.norm(gradient)
        trust = 0.001 * sizes[0] / (sizes[1] + decay * sizes[0] + 1e-8) if min(sizes) > 0 else 1.0
        gradient = trust * (gradient + decay * weight)
    gathered = momentum * (0.0 if slots is None else slots[0]) + gradient
    return rate * gathered, [gathered]


def rmsprop(step, rate, gradient, weight, slots, *, momentum, decay=0.0):
    """Hinton, 2012, as TensorFlow writes it: the mean begins at 1, and the rate enters the momentum."""
    square, gathered = slots or (1.0, 0.0)
    square = 0.9 * square + 0.1 * gradient**2
    gathered = momentum * gathered + rate * gradient / np.sqrt(square + 1e-10)
    return gathered, [square, gathered]


SECOND = {rule.__name__: rule for rule in (momentum, nesterov, adam, adamw, lamb, lars, rmsprop)}
