# Whether Horovod is built for GPUs, and with which CUDA and NCCL. Sourced by utils/install_horovod.sh.
#
#   choose_gpu           # sets gpu, a part of the wheel's name, and nccl_home, the folder of NCCL or "" for the system's
#   link_nccl            # gives Horovod's build an NCCL that its CMake finds; needs work
#
# shellcheck shell=bash disable=SC2034,SC2154 # the environment's facts and work are utils/shell/built_wheels.sh's

# Tells whether TensorFlow is a CUDA build, without loading it.
cuda_tensorflow() {
    grep -qs "'is_cuda_build', True" "$tensorflow_folder/python/platform/build_info.py"
}

choose_gpu() {
    local reason="HOROVOD_GPU_OPERATIONS=${HOROVOD_GPU_OPERATIONS:-}"
    if [ -z "${HOROVOD_GPU_OPERATIONS:-}" ]; then
        HOROVOD_GPU_OPERATIONS=none
        if cuda_tensorflow; then
            HOROVOD_GPU_OPERATIONS=NCCL
            reason="Horovod for $tensorflow, a CUDA build,"
        elif nvidia-smi -L 2> /dev/null | grep -q '^GPU '; then
            say "this machine has a GPU, and $tensorflow cannot use it: Horovod is built for CPUs;" \
                "requirements/gpu.txt has the TensorFlow for GPUs"
        fi
    fi
    nccl_home=""
    case "$HOROVOD_GPU_OPERATIONS" in
        none)
            unset HOROVOD_GPU_OPERATIONS # Horovod's build knows no such value
            gpu=cpu
            return
            ;;
        NCCL)
            choose_cuda
            choose_nccl
            gpu=nccl$nccl-$cuda
            ;;
        MPI)
            choose_cuda
            gpu=mpi-$cuda
            ;;
        *) fail "HOROVOD_GPU_OPERATIONS=$HOROVOD_GPU_OPERATIONS: must be NCCL, MPI, none or empty" 2 ;;
    esac
    export HOROVOD_GPU_OPERATIONS
    gpu+=${HOROVOD_BUILD_CUDA_CC_LIST:+-sm${HOROVOD_BUILD_CUDA_CC_LIST//,/.}}
}

# Sets cuda to the release of CUDA's compiler, which the kernels of Horovod need.
choose_cuda() {
    local nvcc=nvcc
    if [ -z "${HOROVOD_CUDA_HOME:-}" ] && ! command -v nvcc > /dev/null && [ -x /usr/local/cuda/bin/nvcc ]; then
        export HOROVOD_CUDA_HOME=/usr/local/cuda # where CUDA's own installer leaves it
    fi
    nvcc=${HOROVOD_CUDA_HOME:+$HOROVOD_CUDA_HOME/bin/}nvcc
    command -v "$nvcc" > /dev/null || fail "$reason needs CUDA's compiler, and there is no $nvcc: install CUDA's toolkit,\
 or name its folder by HOROVOD_CUDA_HOME; HOROVOD_GPU_OPERATIONS=none builds for CPUs"
    cuda=cuda$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
}

# Sets nccl_home and nccl, the version: the NCCL that is named, else the package beside TensorFlow, which TensorFlow loads
# too, else the system's.
choose_nccl() {
    local header place
    local -a places=("$(dirname "$tensorflow_folder")/nvidia/nccl" /usr)
    [ -z "${HOROVOD_NCCL_HOME:-}" ] || places=("$HOROVOD_NCCL_HOME")
    for place in "${places[@]}"; do
        header=$place/include/nccl.h
        if [ -f "$header" ]; then
            nccl=$(sed -nE 's/^#define +NCCL_(MAJOR|MINOR|PATCH) +([0-9]+).*/\2/p' "$header" | tr '\n' .)
            nccl=${nccl%.}
            [ "$place" = /usr ] || nccl_home=$place
            return
        fi
    done
    fail "$reason needs NCCL's headers, and there is no nccl.h: requirements/gpu.txt brings them, and HOROVOD_NCCL_HOME\
 names another folder of NCCL; HOROVOD_GPU_OPERATIONS=none builds for CPUs"
}

# The package of NCCL has its library under one name only, which is not that by which a linker looks for it. A shared
# NCCL is one for TensorFlow and Horovod together.
link_nccl() {
    export HOROVOD_NCCL_LINK=${HOROVOD_NCCL_LINK:-SHARED}
    if [ -z "$nccl_home" ]; then
        return
    fi
    mkdir -p "$work/nccl/lib"
    ln -s "$nccl_home/include" "$work/nccl/include"
    ln -s "$nccl_home"/lib/libnccl* "$work/nccl/lib"
    [ -e "$work/nccl/lib/libnccl.so" ] || ln -s "$nccl_home/lib/libnccl.so.2" "$work/nccl/lib/libnccl.so"
    export HOROVOD_NCCL_HOME=$work/nccl
}
