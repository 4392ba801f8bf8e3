"""The network of two variables that the tests of checkpoints save."""

from tests.utils.checkpoints.conftest import save, weights

__all__ = ["save", "weights"]
