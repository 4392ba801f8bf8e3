"""torchvision's side of ``against_torchvision``: RetinaNet, channels last, on one random batch."""

from tests.benchmarks.common import THREADS, parser, serve

CLASSES = 91
OBJECTS = 7


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--inference", action="store_true")
    options = arguments.parse_args()
    import torch
    import torchvision

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    side = options.image_size
    network = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=side, max_size=side
    ).to(memory_format=torch.channels_last)
    images = list(torch.rand(options.batch_size, 3, side, side))
    corner = torch.rand(options.batch_size, OBJECTS, 2) * 0.6 * side
    boxes = torch.cat([corner, corner + (0.1 + 0.3 * torch.rand(options.batch_size, OBJECTS, 2)) * side], dim=2)
    labels = torch.randint(1, CLASSES, (options.batch_size, OBJECTS))
    targets = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0001, momentum=0.9, weight_decay=4e-4)

    def train(steps):
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=options.amp):
                loss = sum(network(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    def detect(steps):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.amp):
            for _ in range(steps):
                network(images)

    network.train(not options.inference)
    serve(
        detect if options.inference else train,
        precision="bfloat16" if options.amp else "float32",
        version=f"torch {torch.__version__}, torchvision {torchvision.__version__}",
    )


if __name__ == "__main__":
    main()
