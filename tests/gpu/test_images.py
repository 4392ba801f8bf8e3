"""The Dockerfile's instructions, followed in root folders that resemble the two base images; Docker is not needed.

Debian 13 with Debian's packages of CUDA 12.4 and GCC 13 stands for NVIDIA's CUDA image. Debian 12 stands for NVIDIA's
TensorFlow image, with the CPU build of its TensorFlow and the NumPy and protobuf that go with it. Horovod and DALI are
empty shells there, because the build only asks whether they load.
"""

import re

from tests.gpu.image import Image, base, require_chroot

NCCL = "python -c 'import horovod.tensorflow as hvd, nvidia.dali, onnx; print(\"NCCL\", hvd.nccl_built())'"
VERSIONS = "python -c 'import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))' "
SHELLS = """
cd /usr/local/lib/python3.11/dist-packages
mkdir -p horovod/tensorflow nvidia/dali
touch horovod/__init__.py nvidia/dali/__init__.py
printf 'import tensorflow\\ndef nccl_built():\\n    return 1\\n' > horovod/tensorflow/__init__.py
"""
TRAIN = (
    "main.py --arch=resnet18 --mode=training_benchmark --synthetic_data_size=64 --batch_size=2 --num_iter=4"
    " --iter_unit=batch --warmup_steps=1 --cpu --results_dir=/tmp/run"
)


def test_the_image_of_cuda_builds_and_its_horovod_has_nccl_and_connects_two_processes(tmp_path):
    require_chroot()
    lower = base("trixie", "nvidia-cuda-toolkit g++-13", [])
    image = Image(tmp_path, lower, {"CC": "gcc-13", "CXX": "g++-13"}, {})
    image.build()
    assert image.user == "1000:1000"
    said = image.run(
        "python -c 'import horovod.tensorflow as hvd, nvidia.dali, onnx; print(\"NCCL\", hvd.nccl_built())'"
    )
    assert int(re.search(r"^NCCL (\d+)$", said, flags=re.MULTILINE)[1]) > 20000
    library = image.run("ls /workspace/.venv/lib/python3*/site-packages/horovod/tensorflow/mpi_lib*.so").strip()
    assert re.search(r"nvidia/nccl/lib/libnccl\.so\.2 ", image.run(f"ldd -r {library}"))
    assert "undefined symbol" not in image.run(f"ldd -r {library}")
    assert "train_throughput" in image.run(f"mpiexec --oversubscribe -np 2 python {TRAIN}")


def test_the_image_of_tensorflow_builds_and_keeps_what_its_tensorflow_needs(tmp_path):
    require_chroot()
    pip = "pip install --break-system-packages tensorflow-cpu==2.17.1 numpy==1.26.4 protobuf==4.25.3"
    lower = base("bookworm", "python3 python3-pip", [pip, SHELLS])
    arguments = {"REQUIREMENTS": "requirements/image.txt", "VENV_OPTIONS": "--system-site-packages"}
    image = Image(tmp_path, lower, {}, arguments)
    image.build()
    said = image.run(f"{VERSIONS} tensorflow-cpu numpy protobuf")
    assert said.split() == ["2.17.1", "1.26.4", "4.25.3"]
    assert "train_throughput" in image.run(f"python {TRAIN}")
    image.user = "0:0"
    image.run("python -m pip install --quiet -r requirements/export.txt")  # what the build leaves out would break it
    assert "broken" in image.run("python -c 'import tensorflow' || echo broken")
