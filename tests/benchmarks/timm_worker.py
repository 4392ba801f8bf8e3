"""timm's side of ``against_timm``: trains on one random batch, channels last, by momentum SGD with weight decay."""

from tests.benchmarks.common import THREADS, parser, serve
from tests.model.oracle.timm_side import create

CLASSES = 1001


def main():
    options = parser(__doc__).parse_args()
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network = create(options.arch, CLASSES).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    images = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (options.batch_size,))

    def train(steps):
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=options.amp):
                logits = network(images)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    serve(train, precision="bfloat16" if options.amp else "float32", version=f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
