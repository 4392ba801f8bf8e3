"""Times the formulations of a convolution and of its gradients against each other, taking turns."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from model.layers.choices import Signature
from model.layers.formulations import DIRECTIONS, suitable

tf1 = tf.compat.v1
IMAGE_CHANNELS = 3
SLOW = 2.5
"""A formulation that takes longer than the best by this factor at first is not measured further."""
NOISE, SURE = 0.97, 0.75
"""A formulation replaces the built-in one if it takes at most a share of its time, in a share of the rounds."""
_SECONDS_OF_A_TURN = 0.004

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The measurement of one convolution.

    Attributes:
        times: Milliseconds by direction and formulation; directions without a choice are missing.
        rules: The formulations of the built-in rules by direction.
        choice: The chosen formulations by direction.
    """

    times: Mapping[str, Mapping[str, float]]
    rules: Mapping[str, str]
    choice: Mapping[str, str]

    def milliseconds(self, names: Mapping[str, str]) -> float:
        """The time of all measured directions in some formulations."""
        return sum(times[names[direction]] for direction, times in self.times.items())


def measure(key: str, rules: Sequence[str], rounds: int, config: Any) -> Result:
    """Measures a convolution on this machine and chooses its formulations.

    Args:
        key: Key of its signature.
        rules: The formulations of the built-in rules, which stay unless another one is clearly faster.
        rounds: Number of turns of each formulation.
        config: Options of the session.
    """
    signature, usual = Signature.from_key(key), dict(zip(DIRECTIONS, rules, strict=True))
    times: dict[str, dict[str, list[float]]] = {}
    with tf.Graph().as_default(), tf1.Session(config=config) as session:
        operations = _operations(signature)
        session.run(tf1.global_variables_initializer())
        for direction, rows in operations.items():
            calls = {name: session.make_callable(operation) for name, operation in rows.items()}
            times[direction] = compare(calls, usual[direction], rounds)
    choice = usual | {direction: fastest(found, usual[direction]) for direction, found in times.items()}
    medians = {
        direction: {name: round(statistics.median(values), 4) for name, values in found.items()}
        for direction, found in times.items()
    }
    return Result(times=medians, rules=usual, choice=choice)


def _operations(signature: Signature) -> dict[str, dict[str, Any]]:
    """A number from each formulation of each direction, where there are several.

    An operation without a consumer would not run, because TensorFlow's optimizer removes it.
    """
    inside = signature.channels // signature.groups
    x = _noise("x", [signature.batch, signature.height, signature.width, signature.channels], signature)
    k = _noise("k", [signature.size, signature.size, inside, signature.filters], signature)
    dy = _noise("dy", [signature.batch, *signature.output_sides, signature.filters], signature)
    found = {}
    for direction, rows in DIRECTIONS.items():
        names = suitable(direction, signature)
        if len(names) > 1 and not (direction == "input_gradient" and signature.channels == IMAGE_CHANNELS):
            results = {name: rows[name].compute(x, k, dy, signature) for name in names}
            found[direction] = {name: tf.reshape(result, [-1])[0] for name, result in results.items()}
    return found


def _noise(name: str, shape: Sequence[int | None], signature: Signature) -> Any:
    """A variable: TensorFlow would treat a constant kernel better than one that trains."""
    values = tf.cast(tf.random.stateless_normal(shape, [1, 2]), signature.dtype)
    return tf.convert_to_tensor(tf1.get_variable(name, initializer=values, use_resource=True))


def compare(
    calls: Mapping[str, Callable[[], object]], usual: str, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """The times of each call in milliseconds, one a round; the calls take turns.

    Much slower ones drop out and have one time. Each turn begins in the other order, so that none always comes first.

    Args:
        calls: Calls by name.
        usual: The name of one that never drops out.
        rounds: Number of turns.
        clock: Returns seconds.
    """
    for call in calls.values():
        call()
    tries = [{name: _turn(call, 1, clock) for name, call in calls.items()} for _ in range(2)]
    first = {name: min(one[name] for one in tries) for name in calls}
    limit = SLOW * min(first.values())
    staying = [name for name in calls if name == usual or first[name] <= limit]
    repeats = {name: max(1, math.ceil(_SECONDS_OF_A_TURN / first[name])) for name in staying}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in staying if number % 2 == 0 else reversed(staying):
            found[name].append(1000 * _turn(calls[name], repeats[name], clock))
    return {name: times or [1000 * first[name]] for name, times in found.items()}


def _turn(call: Callable[[], object], repeats: int, clock: Clock) -> float:
    """Seconds of a call."""
    begin = clock()
    for _ in range(repeats):
        call()
    return (clock() - begin) / repeats


def fastest(times: Mapping[str, Sequence[float]], usual: str) -> str:
    """The name with the shortest median, or the usual one unless that is slower in nearly every round.

    Args:
        times: Times by name, one a round.
        usual: The name that stays in doubt.
    """
    staying = [name for name, values in times.items() if len(values) == len(times[usual])]
    best = min(staying, key=lambda name: statistics.median(times[name]))
    if best == usual:
        return usual
    ratios = sorted(one / other for one, other in zip(times[best], times[usual], strict=True))
    return best if ratios[int(SURE * (len(ratios) - 1))] <= NOISE else usual
