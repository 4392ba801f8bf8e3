# How a wheel of Horovod is built for the TensorFlow of an environment. Sourced by utils/install_horovod.sh.
#
#   build_horovod      # called by obtain_wheel; needs mpi_bin, mpi_libraries and nccl_home beside the environment's facts
#
# A wheel's name in the cache holds this file's checksum: whatever changes here, a new wheel is built.
# shellcheck shell=bash disable=SC2154 # the environment's facts, work and log are utils/shell/built_wheels.sh's
HOROVOD_VERSION=0.28.1
HOROVOD_SHA256=92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0

# Edits a file of the source: edit FILE SED_SCRIPT. An edit that finds nothing is for another release than this one.
edit() {
    local file=$work/source/$1
    cp "$file" "$work/unedited"
    sed -i "$2" "$file"
    ! cmp -s "$file" "$work/unedited" || fail "Horovod $HOROVOD_VERSION: $1 is not what utils/shell/horovod_wheel.sh edits"
}

# Horovod's last release is older than TensorFlow 2.14, Open MPI 5, CMake 4 and Python 3.12. Each of these edits can go
# with the first release after 0.28.1 that supports them.
patch_horovod() {
    local cmake=horovod/tensorflow/CMakeLists.txt rpath
    # The all-reduce inside XLA clusters uses headers that TensorFlow took out of its package in 2.14. It is off unless
    # HOROVOD_ENABLE_XLA_OPS=1; without it XLA compiles what lies between the all-reduces.
    edit $cmake '/xla_mpi_ops\.cc/d'
    # Libraries are found by where they lie relative to Horovod, in whatever environment the wheel is installed in: first
    # TensorFlow's, then <environment>/lib with Open MPI's, then those of a system's Open MPI and of NCCL where these
    # were used.
    rpath="\\\$ORIGIN/../../tensorflow;\\\$ORIGIN/../../../..${mpi_libraries:+;$mpi_libraries}"
    if [ "$nccl_home" -ef "$packages/nvidia/nccl" ]; then
        rpath+=';\$ORIGIN/../../nvidia/nccl/lib'
    else
        rpath+=${nccl_home:+;$nccl_home/lib}
    fi
    echo "set_target_properties(\${TF_TARGET_LIB} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH \"$rpath\")" \
        >> "$work/source/$cmake"
    # TensorFlow's package no longer has the function by which Horovod asks for the CUDA stream of a TensorFlow stream.
    edit horovod/tensorflow/mpi_ops.cc '/^#include "tensorflow\/stream_executor\/stream\.h"/{n;a\
    namespace stream_executor::gpu {\
    GpuStreamHandle AsGpuStreamValue(Stream* stream) {\
      return static_cast<GpuStreamHandle>(stream->platform_specific_handle().stream);\
    }\
    } // namespace stream_executor::gpu
    }'
    # horovodrun starts mpirun by its name: that of its own environment goes before any other.
    edit horovod/runner/launch.py '/^def run_commandline/a\
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)'
    # Open MPI 5 takes long options with two dashes only; every older one takes them so too.
    edit horovod/runner/mpi_run.py "s/'-\(bind-to\|map-by\|rank-by\|mca\) /'--\1 /g"
    # Python 3.12 has no distutils.
    edit horovod/runner/js_run.py 's/^from distutils.spawn import find_executable/from shutil import which as find_executable/'
    # CUDA 13 asks for C++17, and GCC 14 for more than C++11.
    edit horovod/common/ops/cuda/CMakeLists.txt 's/CMAKE_CUDA_STANDARD 11/CMAKE_CUDA_STANDARD 17/'
    # Not for age: without information for debuggers the library is a fraction of the size, and sooner compiled.
    edit setup.py "s/'RelWithDebInfo'/'Release'/"
}

# What mpicxx and mpicc say of their flags, by a way to the environment that has no blanks in it.
wrap_mpi_compilers() {
    local name
    for name in mpicc mpicxx; do
        cat > "$work/bin/$name" << END
#!/usr/bin/env bash
set -o pipefail
$(printf %q "$mpi_bin/$name") "\$@" | sed $(printf %q "s|$data/|$work/environment/|g")
END
        chmod +x "$work/bin/$name"
    done
}

# As many at once as there are processors, and 2 GB of memory for each: TensorFlow's headers take more than 1 GB.
parallel_jobs() {
    local memory processors
    memory=$(awk '/^MemAvailable/ { print int($2 / 2000000) }' /proc/meminfo)
    processors=$(nproc)
    echo $((memory < 1 ? 1 : memory < processors ? memory : processors))
}

build_horovod() {
    check_compilers Horovod
    say "compiling Horovod $HOROVOD_VERSION for $tensorflow and $mpi, which takes 5 to 15 minutes on 2 processors, once;" \
        "log: $log"
    prepare_tools
    echo "horovod==$HOROVOD_VERSION --hash=sha256:$HOROVOD_SHA256" > "$work/horovod.txt"
    PYTHONPATH=$build_pythonpath logged "$python" -P -m pip download --disable-pip-version-check --no-deps \
        --no-build-isolation --no-binary horovod --dest "$work" --requirement "$work/horovod.txt" \
        || fail "Horovod's source could not be downloaded; is there a network?$(why)"
    mkdir "$work/source"
    logged tar xzf "$work/horovod-$HOROVOD_VERSION.tar.gz" --strip-components 1 -C "$work/source" \
        || fail "Horovod's source could not be unpacked$(why)"
    patch_horovod
    link_nccl
    wrap_mpi_compilers
    export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
    export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1
    export HOROVOD_CMAKE=$work/tools/cmake/data/bin/cmake
    # Its Gloo asks for the CMake of 2013, which CMake 4 imitates no more unless it is told to.
    export CMAKE_POLICY_VERSION_MINIMUM=3.5
    # It leaves the inclusion of these two to other headers, which those of GCC 13 do not do.
    export CXXFLAGS="-include cstdint -include stdexcept ${CXXFLAGS:-}"
    MAKEFLAGS=${MAKEFLAGS:--j$(parallel_jobs)}
    export MAKEFLAGS
    build_with_pip Horovod "$work/source"
}
