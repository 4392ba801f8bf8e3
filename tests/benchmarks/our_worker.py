"""Our side of ``against_timm``: trains through the trainer and the loop of the program."""

from tests.benchmarks.common import parser, serve, set_up_as_main_does


def main():
    options = parser(__doc__).parse_args()
    setup = set_up_as_main_does("training_benchmark", options)
    import os

    import tensorflow as tf

    from runtime.plan import plan_training
    from runtime.trainer import Trainer
    from utils.hvd_utils import communicator

    processes = communicator(os.environ)
    plan = plan_training(setup.config, setup.task.num_examples("train"), processes.size)
    with Trainer(setup, plan, processes, None) as trainer:
        serve(
            lambda steps: trainer.run(trainer.step + steps, []),
            precision=setup.precision.name,
            version=f"tensorflow {tf.__version__}",
        )


if __name__ == "__main__":
    main()
