"""The three graphs of a task: the effects of a training step, and inference without side effects."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.specs import QuantizationSpec
from runtime.classification.task import classification_task
from runtime.devices.precision import Precision
from runtime.graphs import build_eval_graph, build_predict_graph, build_train_graph
from runtime.planning.plan import plan_training
from tests.runtime.processes import ALONE, Pretended, never_stopping
from tests.runtime.runs import picture, tiny_networks
from tests.utils.input_records import record, write_files
from utils.config import ExperimentConfig, FineTuningConfig, ModelConfig, MovingAverageConfig, RunConfig
from utils.data_config import DataConfig
from utils.input.batching import Position, Shard
from utils.optimizer_config import OptimizerConfig

tf1 = tf.compat.v1
SIZE, BATCH, CLASSES = 16, 4, 3
FLOAT32 = Precision(compute_dtype=tf.float32)


def config(arch="resnet50", **optimizer):
    return ExperimentConfig(
        model=ModelConfig(architecture=arch, num_classes=CLASSES, image_size=SIZE, label_offset=1),
        data=DataConfig(data_dir="data", batch_size_per_replica=BATCH),
        optimizer=OptimizerConfig(**{"warmup_epochs": 0.0, "learning_rate_per_256": 6.4, **optimizer}),
        run=RunConfig(mode="train"),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    examples = [record(picture(i), label=1 + i % CLASSES) for i in range(12)]
    return write_files(tmp_path_factory.mktemp("graphs"), examples, 2)


def task(settings, files):
    frozen = settings.fine_tuning.freeze_batch_norm
    layers = LayerOptions(seed=3, quantization=settings.model.quantization, freeze_batch_norm=frozen)
    return classification_task(settings, {"train": files, "validation": files}, 3, layers)


@dataclasses.dataclass
class Step:
    before: dict
    fetched: dict
    after: dict


@pytest.fixture(scope="module")
def plain(files):
    """A training graph with default options, and two of its steps."""
    return train(config(), files, 2)


def train(settings, files, steps=1, precision=FLOAT32, communicator=None):
    """Runs steps of a new training graph; returns each with the variables before and after it."""
    plan = plan_training(settings, files.examples, 1)
    with tiny_networks():
        graph = build_train_graph(
            task(settings, files), settings, plan, precision, communicator or ALONE, never_stopping(), Position()
        )
    done = []
    with tf1.Session(graph=graph.graph) as session:
        session.run([graph.initializer, graph.input.initializer])

        def values():
            return session.run({v.op.name: v for v in graph.variables})

        for _ in range(steps):
            before = values()
            done.append(Step(before, session.run(graph.fetches()), values()))
    return graph, done


def test_reading_the_step_performs_one_update_and_reads_the_step_after_it(plain):
    _, steps = plain
    assert [int(step.fetched["step"]) for step in steps] == [1, 2]
    assert [int(step.after["global_step"]) for step in steps] == [1, 2]


def test_every_weight_statistic_and_slot_moves_in_one_step(files):
    graph, (step,) = train(config("se-resnext101-32x4d"), files)
    still = [name for name, value in step.before.items() if np.array_equal(value, step.after[name])]
    assert still == []
    names = {v.op.name for v in graph.variables}
    weights = {name.removesuffix("/Momentum") for name in names if name.endswith("/Momentum")}
    assert {name for name in names if "moving_" in name} == names - weights - {f"{w}/Momentum" for w in weights} - {
        "global_step"
    }


@pytest.mark.slow
def test_the_update_is_momentum_with_the_rate_of_the_step_before_it(files):
    settings = config(schedule="cosine", learning_rate_per_256=6.4, weight_decay=1e-3, momentum=0.9)
    plan = plan_training(settings, files.examples, 1)
    _, steps = train(settings, files, 3)
    for number, step in enumerate(steps):
        rate = step.fetched["learning_rate"]
        assert rate == pytest.approx(plan.schedule.rate(number), rel=1e-6)
        for name in ("resnet50/output/dense/kernel", "resnet50/conv2d/BatchNorm/gamma"):
            moved = step.before[name] - rate * step.after[f"{name}/Momentum"]
            np.testing.assert_allclose(step.after[name], moved, rtol=1e-5, atol=1e-7)


def test_the_slope_is_that_of_loss_and_decay_together(files, plain):
    """The momentum after the first step is the gradient."""
    _, (without, _) = plain  # except for the default decay of 0.0001
    _, (decayed,) = train(config(weight_decay=0.5001), files)
    for name in ("resnet50/output/dense/kernel", "resnet50/conv2d/conv2d/kernel"):
        np.testing.assert_allclose(
            decayed.after[f"{name}/Momentum"] - without.after[f"{name}/Momentum"],
            0.5 * without.before[name],
            rtol=1e-3,
            atol=1e-6,
        )
    gamma = "resnet50/conv2d/BatchNorm/gamma/Momentum"
    np.testing.assert_allclose(decayed.after[gamma], without.after[gamma], rtol=1e-5, atol=1e-7)


def test_scalars_are_the_losses_their_sum_and_the_rate(plain):
    _, (step, _) = plain
    fetched = step.fetched
    assert set(fetched) == {
        *("step", "status", "index", "wait_seconds"),
        *("cross_entropy", "l2_loss", "total_loss", "learning_rate"),
    }
    assert fetched["total_loss"] == pytest.approx(fetched["cross_entropy"] + fetched["l2_loss"], rel=1e-6)
    kernels = [
        value
        for name, value in step.before.items()
        if name.startswith("resnet50") and "BatchNorm" not in name and not name.endswith("Momentum")
    ]
    assert fetched["l2_loss"] == pytest.approx(1e-4 * sum((value**2).sum() / 2 for value in kernels), rel=1e-5)


@pytest.mark.slow
def test_a_static_loss_scale_changes_nothing_but_its_scalar(files, plain):
    _, scaled = train(config(), files, 2, Precision(compute_dtype=tf.float32, static_loss_scale=128.0))
    assert [step.fetched["loss_scale"] for step in scaled] == [128.0, 128.0]
    for name, value in plain[1][-1].after.items():
        np.testing.assert_allclose(scaled[-1].after[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_dynamic_loss_scale_is_part_of_the_variables_that_are_saved(files):
    graph, (step,) = train(config(), files, 1, Precision(compute_dtype=tf.float32, dynamic_loss_scale=True))
    assert step.fetched["loss_scale"] == 2.0**15
    assert {"loss_scale", "loss_scale_good_steps"} <= {v.op.name for v in graph.variables}
    assert step.after["loss_scale_good_steps"] == 1


STATIC = Precision(compute_dtype=tf.float32, static_loss_scale=128.0)
DYNAMIC = Precision(compute_dtype=tf.float32, dynamic_loss_scale=True)


@pytest.mark.parametrize(("where", "gpu"), [("here", False), ("elsewhere", True)])
def test_an_overflow_in_any_process_leaves_weights_statistics_ranges_and_averages_alone(where, gpu, files, monkeypatch):
    class Overflowing(Pretended):
        """A process whose neighbour's gradients overflow."""

        def average_gradients(self, pairs):
            (gradient, variable), *others = pairs
            return [(gradient + float("inf"), variable), *others]

    monkeypatch.setattr("runtime.graphs.uses_gpu", lambda _: gpu)
    if where == "here":
        monkeypatch.setattr("utils.optimizers.INITIAL_LOSS_SCALE", 2.0**127)
    settings = dataclasses.replace(config(), moving_average=MovingAverageConfig(ema_decay=0.9))
    quantized = dataclasses.replace(settings.model, quantization=QuantizationSpec())
    settings = dataclasses.replace(settings, model=quantized)
    graph, (step,) = train(settings, files, 1, DYNAMIC, Overflowing(1) if where == "elsewhere" else None)
    assert int(step.fetched["step"]) == 0
    moved = {name for name, value in step.before.items() if not np.array_equal(value, step.after[name])}
    assert moved == {"loss_scale"}
    names = {v.op.name.rpartition("/")[2] for v in graph.variables}
    assert {"moving_mean", "moving_variance", "min", "max", "biased", "ExponentialMovingAverage"} <= names


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [
        ({}, DYNAMIC),
        ({}, FLOAT32),
        pytest.param({"name": "nesterov"}, STATIC, marks=pytest.mark.slow),
        pytest.param({"name": "adam", "learning_rate_per_256": 0.064}, FLOAT32, marks=pytest.mark.slow),
    ],
)
def test_a_gpus_vectors_give_the_same_weights_bit_for_bit(optimizer, precision, files, monkeypatch):
    settings = config("se-resnext101-32x4d", **optimizer)
    settings = dataclasses.replace(settings, moving_average=MovingAverageConfig(ema_decay=0.9))
    _, single = train(settings, files, 3, precision)
    monkeypatch.setattr("runtime.graphs.uses_gpu", lambda _: True)
    monkeypatch.setattr("utils.vectors.SMALL", 100)  # some variables are larger
    graph, grouped = train(settings, files, 3, precision)
    assert {v.op.name for v in graph.variables} == set(single[0].before)
    for ours, theirs in zip(grouped, single, strict=True):
        assert [name for name, value in ours.after.items() if not np.array_equal(value, theirs.after[name])] == []
        for name in ("cross_entropy", "l2_loss", "total_loss"):
            assert ours.fetched[name] == pytest.approx(theirs.fetched[name], rel=1e-6)


def operations_of_a_step(graph):
    """The number of operations of each type that the training fetches depend on, outside conditionals."""
    waiting = [tensor.op for tensor in graph.fetches().values()]
    found = set()
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return Counter(operation.type for operation in found)


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpu_starts_a_few_operations_for_all_gradients(gpu, files, monkeypatch):
    monkeypatch.setattr("runtime.graphs.uses_gpu", lambda _: gpu)
    graph, _ = train(config(), files, 0, DYNAMIC)
    counts = operations_of_a_step(graph)
    trained = sum(v.op.name.endswith("/Momentum") for v in graph.variables)
    decayed = sum(v.op.name.endswith(("kernel/Momentum", "bias/Momentum")) for v in graph.variables)
    assert (counts["IsFinite"], counts["L2Loss"]) == ((2, 1) if gpu else (trained, decayed))
    assert 2 < decayed < trained


@pytest.mark.slow
def test_processes_average_gradients_whatever_the_loss_is_scaled_by(files, plain):
    class Halving(Pretended):
        def average_gradients(self, pairs):
            return [(gradient / 2, variable) for gradient, variable in pairs]

    scaled = Precision(compute_dtype=tf.float32, static_loss_scale=128.0)
    _, (whole, _) = plain
    _, (halved,) = train(config(), files, 1, scaled, Halving(1))
    name = "resnet50/output/dense/kernel/Momentum"
    np.testing.assert_allclose(2 * halved.after[name], whole.after[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_each_process_reads_its_own_shard(files, plain):
    _, (first, _) = plain
    _, (second,) = train(config(), files, 1, FLOAT32, Pretended(2, rank=1))
    assert len({*first.fetched["index"], *second.fetched["index"]}) == 2 * BATCH


def test_two_half_batches_give_the_update_of_a_whole_one(files, monkeypatch):
    """Batch norm aside: its statistics are frozen."""
    gathered = []
    for batch, parts, gpu in ((4, 1, False), (2, 2, True)):
        monkeypatch.setattr("runtime.graphs.uses_gpu", lambda _, gpu=gpu: gpu)
        settings = config("resnet18", accumulate_steps=parts, mixup_alpha=0.5, stochastic_depth=0.5, dropout=0.3)
        settings = dataclasses.replace(
            settings,
            data=dataclasses.replace(settings.data, batch_size_per_replica=batch),
            fine_tuning=FineTuningConfig(freeze_batch_norm=True),
        )
        gathered.append(train(settings, files, 2, DYNAMIC)[1])
    for theirs, ours in zip(*gathered, strict=True):
        np.testing.assert_array_equal(ours.fetched["index"], theirs.fetched["index"])
        for name in ("cross_entropy", "l2_loss", "total_loss"):
            assert ours.fetched[name] == pytest.approx(theirs.fetched[name], rel=1e-5)
        assert set(ours.after) == set(theirs.after)
        for name, value in theirs.after.items():
            np.testing.assert_allclose(ours.after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_options_that_are_off_leave_no_trace_in_the_graph(plain):
    graph, _ = plain
    counts = Counter(operation.type for operation in graph.graph.get_operations())
    updates = {name for name in counts if name.startswith("ResourceApply")}
    assert updates == {"ResourceApplyMomentum"}
    assert [name for name in ("While", "If", "StatelessIf", "IdentityN", "Softplus", "Log1p") if counts[name]] == []
    assert counts["L2Loss"] == sum(v.op.name.endswith(("kernel/Momentum", "bias/Momentum")) for v in graph.variables)


def test_a_unit_moves_by_a_hundredth_of_its_weights_at_most_but_not_the_last_layer(files, plain):
    """The momentum after the first step is the gradient; the units are those of a second implementation."""
    _, (without, _) = plain
    _, (clipped,) = train(config(adaptive_clip=True), files)
    limited = 0
    for name in (key for key in clipped.after if key.endswith("/Momentum")):
        weights, gradient = clipped.before[name.removesuffix("/Momentum")], without.after[name]
        units, scales = (
            array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[:, None] for array in (gradient, weights)
        )
        largest = 0.01 * np.maximum(np.linalg.norm(scales, axis=0), 1e-3)
        factors = np.minimum(1.0, largest / np.maximum(np.linalg.norm(units, axis=0), 1e-30))
        expected = gradient if "/output/" in name else gradient * factors
        limited += np.sum(factors < 0.99)
        np.testing.assert_allclose(clipped.after[name], expected, rtol=1e-4, atol=1e-7, err_msg=name)
    assert limited > 20


def test_the_rate_falls_by_a_factor_from_group_to_group_towards_the_stem(files):
    settings = dataclasses.replace(config("resnet18"), fine_tuning=FineTuningConfig(layer_decay=0.5))
    _, (step,) = train(settings, files)
    groups = {"output": 1.0, "basic_block_1_0": 0.5, "basic_block_0_0": 0.25, "conv2d": 0.125}
    found = set()
    for name in (key.removesuffix("/Momentum") for key in step.after if key.endswith("/Momentum")):
        group = name.split("/")[1]
        moved = step.fetched["learning_rate"] * groups[group] * step.after[f"{name}/Momentum"]
        np.testing.assert_allclose(step.before[name] - step.after[name], moved, rtol=1e-4, atol=1e-6, err_msg=name)
        found.add(group)
    assert found == set(groups)


def test_an_average_decays_by_what_its_run_asks_for(files):
    average = MovingAverageConfig(ema_decay=0.5, ema_decay_steps=10)  # 0.5^(10 / 3) in a run of three steps
    _, (step,) = train(dataclasses.replace(config("resnet18"), moving_average=average), files)
    kernel = "resnet18/conv2d/conv2d/kernel"
    expected = step.after[kernel] - 0.5 ** (10 / 3) * step.after[kernel]  # the average begins at 0 here
    np.testing.assert_allclose(step.after[f"{kernel}/ExponentialMovingAverage"], expected, rtol=1e-5, atol=1e-7)


def test_statistics_follow_the_mean_of_the_parts_once_a_step(files):
    settings = config("resnet18", accumulate_steps=2, learning_rate_per_256=0.0)
    halves = dataclasses.replace(settings, data=dataclasses.replace(settings.data, batch_size_per_replica=2))
    _, (step,) = train(halves, files)
    _, (whole,) = train(config("resnet18", learning_rate_per_256=0.0), files)
    name = "resnet18/conv2d/BatchNorm/moving_mean"  # the mean of two halves' means is that of the whole
    np.testing.assert_allclose(step.after[name], whole.after[name], rtol=1e-4, atol=1e-7)
    assert np.any(step.after[name] != step.before[name])


def test_biases_are_no_part_of_the_decay_if_told(files):
    _, (_, step) = train(config("resnet18", weight_decay=0.5, no_bias_decay=True), files, 2)
    trained = [name.removesuffix("/Momentum") for name in step.before if name.endswith("/Momentum")]
    squares = {name: np.sum(np.square(step.before[name])) for name in trained if "BatchNorm" not in name}
    (bias,) = (name for name in squares if name.endswith("/bias"))
    assert squares.pop(bias) > 0
    assert step.fetched["l2_loss"] == pytest.approx(0.5 * sum(squares.values()) / 2, rel=1e-6)


def test_variables_are_finite_until_one_is_not(plain):
    graph, _ = plain
    assert set(graph.finite()) == {v.op.name for v in graph.variables} - {"global_step"}
    with tf1.Session(graph=graph.graph) as session:
        session.run(graph.initializer)
        assert all(session.run(graph.finite()).values())
        (bias,) = (v for v in graph.variables if v.op.name == "resnet50/output/dense/bias")
        bias.load([0.0, np.nan, 0.0], session)
        assert [name for name, ok in session.run(graph.finite()).items() if not ok] == ["resnet50/output/dense/bias"]


def built(files, build):
    """A graph for evaluation or prediction on the validation images, and a session with weights and input."""
    with tiny_networks(), tf.Graph().as_default():
        classification = task(config(), files)
        graph = build(classification, classification.data.input("validation", Shard(), Position()), ALONE)
    session = tf1.Session(graph=graph.graph)
    graph.network.load(session, None, None)
    session.run(graph.input.initializer)
    return graph, session


def test_evaluation_has_the_networks_variables_and_moves_none(files, plain):
    graph, session = built(files, build_eval_graph)
    with session:
        names = {v.op.name for v in graph.network.weights.variables}
        training, _ = plain
        assert names == {
            v.op.name for v in training.variables if "Momentum" not in v.op.name and v.op.name != "global_step"
        }
        held = [variable.value for variable in graph.network.held]
        before = session.run(held)
        fetched = session.run(graph.fetches())
        assert set(fetched) == {"status", "index", "wait_seconds", "logits", "labels"}
        for value, variable in zip(before, session.run(held), strict=True):
            np.testing.assert_array_equal(value, variable)


def test_prediction_equals_evaluation_on_the_same_images(files):
    graph, session = built(files, build_eval_graph)
    with session:
        logits = session.run(graph.outputs)["logits"]
    graph, session = built(files, build_predict_graph)  # the initial weights depend on the seed alone
    with session:
        found = session.run(graph.predictions)
    exponentials = np.exp(logits)
    np.testing.assert_allclose(
        found["probabilities"], exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-5
    )
    np.testing.assert_array_equal(found["classes"], logits.argmax(axis=1))
