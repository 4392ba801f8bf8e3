#!/usr/bin/env bash
# Installs DALI and its TensorFlow plugin beside the TensorFlow of an environment, and proves that a pipeline runs:
#
#   bash utils/install_dali.sh [--prove] [PYTHON]
#
# PYTHON is the interpreter of the environment; without it the variable PYTHON names it, else it is the clone's .venv,
# else python3 on the PATH. The versions are those of requirements-dali.txt. The plugin is compiled for the TensorFlow
# that is there already, once: the wheel is kept in ${XDG_CACHE_HOME:-~/.cache}/tensorflow-built-wheels.
# What is in place already stays; --prove runs the pipeline all the same. No GPU is needed.
#
# Exit status: 0 installed and proved · 1 failed · 2 wrong usage
source "$(dirname "${BASH_SOURCE[0]}")/built_wheels.sh"
plugin_pin=$(grep '^nvidia-dali-tf-plugin' "$LAUNCH_ROOT/requirements-dali.txt")
plugin=${plugin_pin%%==*}

# A pipeline on the CPU that yields one constant, read through the plugin's data set in a graph.
PROOF='
import tensorflow as tf
from nvidia.dali import pipeline_def, types
from nvidia.dali.plugin.tf import DALIDataset
@pipeline_def(batch_size=2, num_threads=1, device_id=None)
def sevens():
    return types.Constant(7, shape=[3], device="cpu")
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    data = DALIDataset(pipeline=sevens(), batch_size=2, output_shapes=((2, 3),), output_dtypes=(tf.int32,), device_id=None)
    batches = tf.compat.v1.data.make_initializable_iterator(data)
    session.run(batches.initializer)
    assert session.run(batches.get_next())[0].tolist() == [[7, 7, 7], [7, 7, 7]]
'

# shellcheck disable=SC2329 # obtain_wheel calls it
build_plugin() {
    check_compilers "DALI's TensorFlow plugin"
    say "compiling DALI's TensorFlow plugin for $tensorflow, which takes some minutes, once; log: $log"
    prepare_tools
    build_with_pip "DALI's TensorFlow plugin" --no-binary "$plugin" "$plugin_pin"
}

# What is installed, in words that change whenever one of the parts does.
installed() {
    echo "${folder##*/}"
    stat -c '%n %s %Y' "$packages"/nvidia/dali_tf_plugin/libdali_tf*.so "$packages"/nvidia/dali/libdali.so 2> /dev/null
}

install_parts() {
    obtain_wheel build_plugin
    if ! compgen -G "$packages/nvidia/dali/libdali.so" > /dev/null; then
        say "installing DALI, some 520 MB where pip does not have them"
    fi
    pip_install DALI --find-links "$folder" --only-binary "$plugin" --requirement "$LAUNCH_ROOT/requirements-dali.txt"
    pip_install "DALI's TensorFlow plugin" --force-reinstall --no-deps "$wheel" # the one for this TensorFlow
}

prove() {
    CUDA_VISIBLE_DEVICES="" TF_CPP_MIN_LOG_LEVEL=2 logged timeout --kill-after=10 180 "$python" -P -c "$PROOF"
}

install_dali() {
    if in_place && [ "$again" = no ]; then
        say "$plugin_pin for $tensorflow is in place in $data, and was proved"
        return
    fi
    local fresh=yes
    if ! in_place; then
        rm -f "$stamp"
        install_parts
    fi
    if ! prove; then
        rm -f "$stamp"
        [ "$fresh" = no ] || fail "DALI does not run$(why)"
        say "the wheel that was kept does not work: compiling it anew"
        rm -rf "$folder"
        install_parts
        prove || fail "DALI does not run$(why)"
    fi
    installed > "$stamp"
    say "$plugin_pin for $tensorflow is in $data: a pipeline runs in a graph"
}

main() {
    local folder stamp
    begin_installation "$@"
    wheel_folder "$plugin-${plugin_pin##*==}-$tensorflow-$platform"
    stamp=$data/installed-dali
    install_dali
}

main "$@"; exit # a script that was edited meanwhile is not read on
