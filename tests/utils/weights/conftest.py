"""The network of two variables from the tests of checkpoints."""

from tests.utils.checkpoints.conftest import save, weights

__all__ = ["save", "weights"]
