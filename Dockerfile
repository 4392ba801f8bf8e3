# An image that trains on NVIDIA's GPUs, as any user:
#
#   docker build -t classifiers-and-ssd .
#   docker run --rm -it --gpus all --ipc=host --ulimit memlock=-1 --ulimit stack=67108864 --user "$(id -u):$(id -g)" \
#       -v DATA:/data -v RESULTS:/results classifiers-and-ssd
#
# On NVIDIA's TensorFlow image, whose own TensorFlow, Horovod and DALI are then used:
#
#   docker build -t classifiers-and-ssd --build-arg BASE_IMAGE=nvcr.io/nvidia/tensorflow:25.02-tf2-py3 \
#       --build-arg REQUIREMENTS=requirements/image.txt --build-arg VENV_OPTIONS=--system-site-packages .
#
# A digest pins the content of a base image: --build-arg BASE_IMAGE=name:tag@sha256:...
ARG BASE_IMAGE=nvidia/cuda:12.9.1-cudnn-devel-ubuntu24.04
FROM ${BASE_IMAGE}

# The state of Ubuntu's archive that packages come from; it must be younger than the base image.
ARG UBUNTU_SNAPSHOT=20261101T000000Z
ARG REQUIREMENTS=requirements/gpu.txt
ARG VENV_OPTIONS=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Python and a compiler for Horovod; numactl for utils/shell/bind_dgx_a100.sh; ssh for launches on several machines; curl
# and unzip for download_dataset.sh; git, for the commit in a run's log. NVIDIA's package lists have no snapshots,
# and nothing is taken from them. Versions are those of the snapshot.
# hadolint ignore=DL3008
RUN rm -f /etc/apt/sources.list.d/cuda* /etc/apt/sources.list.d/nvidia* \
    && apt-get -o APT::Snapshot="$UBUNTU_SNAPSHOT" update \
    && DEBIAN_FRONTEND=noninteractive apt-get -o APT::Snapshot="$UBUNTU_SNAPSHOT" install -y --no-install-recommends \
        build-essential ca-certificates curl git numactl openssh-client python3 python3-dev python3-venv unzip \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'

WORKDIR /workspace
ENV PIP_NO_CACHE_DIR=1

# The rest does what tests/run.sh does, with the same scripts.
COPY requirements.txt ./
COPY requirements/ requirements/
COPY utils/*.sh utils/
COPY utils/shell/ utils/shell/
RUN . utils/shell/setup_venv.sh && setup_venv "$REQUIREMENTS"

# Horovod with NCCL for Volta to Hopper, and DALI, unless the base image brings them along. ONNX and LiteRT stay out of an
# environment that uses the base image's TensorFlow: they ask for another NumPy and protobuf than an older TensorFlow.
ARG HOROVOD_BUILD_CUDA_CC_LIST=70,75,80,86,89,90
RUN export XDG_CACHE_HOME=/tmp/cache HOROVOD_GPU_OPERATIONS=NCCL \
    && . utils/shell/setup_venv.sh \
    && { .venv/bin/python -c 'import horovod.tensorflow' 2> /dev/null || bash utils/install_horovod.sh; } \
    && { .venv/bin/python -c 'import nvidia.dali' 2> /dev/null || setup_venv requirements/dali.txt; } \
    && { [ -f .venv/kept.txt ] || setup_venv requirements/export.txt; } \
    && rm -rf /tmp/cache \
    && .venv/bin/python -c 'import tensorflow, horovod.tensorflow as hvd; assert hvd.nccl_built(), "Horovod has no NCCL"'

COPY . .

# Any --user finds a home to write caches to, and everything else read-only.
RUN chmod -R a+rX . && mkdir -m 1777 /home/anyone
ENV HOME=/home/anyone PATH=/workspace/.venv/bin:$PATH
USER 1000:1000
CMD ["bash"]
