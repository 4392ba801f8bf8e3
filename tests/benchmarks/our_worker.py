"""Our side of ``against_timm`` and ``against_torchvision``: the program's own trainer, evaluation and loop."""

import contextlib

from tests.benchmarks.common import parser, serve, set_up_as_main_does


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--inference", action="store_true")
    options = arguments.parse_args()
    mode = "inference_benchmark" if options.inference else "training_benchmark"
    setup = set_up_as_main_does(mode, options)
    import tensorflow as tf

    with inference(setup) if options.inference else training(setup) as work:
        serve(work, precision=setup.precision.name, version=f"tensorflow {tf.__version__}")


@contextlib.contextmanager
def training(setup):
    """Yields a function that trains a number of steps."""
    from runtime.plan import plan_training
    from runtime.stopping import Stopping
    from runtime.trainer import Trainer
    from utils.hooks.preemption import PreemptionHook
    from utils.hvd_utils import SerialCommunicator

    alone = SerialCommunicator()
    plan = plan_training(setup.config, setup.task.data.num_examples("train"), alone.size)
    with Trainer(setup, plan, alone, Stopping(PreemptionHook(), alone), None) as trainer:
        yield lambda steps: trainer.run(trainer.step + steps, [])


@contextlib.contextmanager
def inference(setup):
    """Yields a function that evaluates a number of batches, without metrics."""
    from runtime.evaluation import Evaluation
    from runtime.loop import run_loop
    from utils.hvd_utils import SerialCommunicator

    with contextlib.closing(Evaluation(setup, SerialCommunicator())) as evaluation:
        session = evaluation._session
        session.run(evaluation.graph.input.initializer)
        yield lambda steps: run_loop(session, evaluation.graph, [], start=0, last=steps)


if __name__ == "__main__":
    main()
