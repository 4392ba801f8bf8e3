"""The loss before the first update, beside that of a network that knows nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from utils.hooks.hook import Hook, StepRecord

FAR = 3.0
"""Multiple of the loss of chance above which a new network begins far off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """The loss of predictions that are the same for all images, where a new network should begin.

    Attributes:
        loss: Log key of the loss.
        initial_key: Log key of the loss before the first update.
        key: Log key of the value.
        value: The value.
        remedy: Flag with which a new network begins there.
    """

    loss: str
    initial_key: str
    key: str
    value: float
    remedy: str


class BeginningHook(Hook):
    """Notes the loss of a run's first step, which is that of its initial weights, and warns if it is far above chance.

    Args:
        chance: The loss of chance.
        new: Whether the weights of the last layer are new, so that the loss says nothing about earlier training.
    """

    def __init__(self, chance: Chance, *, new: bool) -> None:
        self._chance = chance
        self._new = new
        self._begun = False
        self._figures: dict[str, float] = {}

    def after_step(self, record: StepRecord) -> None:
        if self._begun:
            return
        self._begun = True
        chance, loss = self._chance, float(record.values[self._chance.loss])
        self._figures = {chance.initial_key: loss, chance.key: chance.value}
        if self._new and loss > FAR * chance.value:
            logging.getLogger(__name__).warning(
                "the new network begins with a loss of %.4g, equal probabilities have %.4g: its last layer is so large "
                "that training first has to unlearn random answers; %s begins at %.4g",
                loss, chance.value, chance.remedy, chance.value,
            )  # fmt: skip

    def take(self) -> Mapping[str, float]:
        """The loss and that of chance by log key, once."""
        figures, self._figures = self._figures, {}
        return figures
