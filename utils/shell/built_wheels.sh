# Wheels compiled for the TensorFlow of a Python environment and cached for the next such environment.
# Sourced by scripts.
#
#   source utils/shell/built_wheels.sh
#   begin_installation "$@"               # parses --help, --prove (sets again) and the environment; sets log and the
#                                         # facts below and locks the environment; ends the script with a sentence if
#                                         # that fails
#   in_place                              # tells whether the output of the function installed equals the file stamp
#   wheel_folder NAME [RECIPE...]         # sets folder to the cache folder of such a wheel
#   obtain_wheel BUILD                    # sets wheel to the cached one, or to the one BUILD leaves in "$work/wheels"
#   logged COMMAND [ARGUMENT...]          # runs a command with its output in "$log" only
#   pip_install WHAT [ARGUMENT...]        # installs into the environment, or as pip's arguments say
#   prepare_tools                         # sets build_path and build_pythonpath: the pinned build tools
#
# Facts: python, scripts, data, packages, tensorflow, tensorflow_folder, platform
#
# Wheels are cached in ${XDG_CACHE_HOME:-~/.cache}/tensorflow-built-wheels, one folder per name, with their SHA-256.
# shellcheck shell=bash disable=SC2034,SC2154 # the scripts that source this read the facts and set stamp and again
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
work=""
log=""
building=""

say() {
    echo "$(basename "$0"): $*" >&2
}

fail() {
    say "$1"
    exit "${2:-1}"
}

# Ends a running build and removes its files, however the script ends.
clean_up() {
    if [ -n "$building" ]; then
        kill -TERM -- "-$building" 2> /dev/null || true
    fi
    if [ -n "$work" ]; then
        rm -rf "$work"
    fi
}

begin_installation() {
    again=no
    while [[ ${1:-} == -* ]]; do
        case "$1" in
            --prove) again=yes ;;
            --help | -h) sed -n '2,/^source/{/^source/!s/^# \{0,1\}//p}' "$0" && exit ;;
            *) fail "$1: no such option; see --help" 2 ;;
        esac
        shift
    done
    [ $# -le 1 ] || fail "one environment at a time; see --help" 2
    launch_has_no_dry_run
    PYTHON=${1:-${PYTHON:-}}
    python=$(launch_python) || exit
    describe_environment "$python"
    claim_environment
}

in_place() {
    [ -f "$stamp" ] && [ "$(installed)" = "$(cat "$stamp")" ]
}

# Facts about the interpreter, one per line, without importing TensorFlow, which takes seconds to load.
ENVIRONMENT_FACTS='
import importlib.metadata, importlib.util, os, platform, sys, sysconfig
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
spec = importlib.util.find_spec("tensorflow")
names = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "tf-nightly-cpu", "intel-tensorflow")
found = [f"{name}-{version(name)}" for name in names if version(name)] if spec and spec.origin else []
if spec and spec.origin and not found: # under another name; this search takes a second
    names = importlib.metadata.packages_distributions().get("tensorflow", ["unknown-tensorflow"])
    found = [f"{name}-{version(name)}" for name in names]
print(sys.executable)
print(sysconfig.get_path("scripts"))
print(sysconfig.get_path("data"))
print(sysconfig.get_path("purelib"))
print(found[0] if found else "")
print(os.path.dirname(spec.origin) if spec and spec.origin else "")
print("-".join(["cp%d%d" % sys.version_info[:2], sysconfig.get_platform(), "".join(platform.libc_ver())]))
'

describe_environment() {
    local facts
    facts=$("$1" -P -c "$ENVIRONMENT_FACTS") || fail "$1 is not a Python 3.11 or newer that runs" 2
    {
        read -r python && read -r scripts && read -r data && read -r packages
        read -r tensorflow && read -r tensorflow_folder && read -r platform
    } <<< "$facts"
    [ -n "$tensorflow" ] || fail "there is no TensorFlow in the environment of $python to compile for:\
 run '$python -m pip install -r requirements.txt' first, or name another interpreter:\
 bash $0 /path/to/python"
    [ -w "$packages" ] || fail "$packages is not writable, and packages compiled for a TensorFlow belong beside it:\
 create your own environment with '$python -m venv', or name another interpreter: bash $0 /path/to/python"
    command -v flock > /dev/null || fail "flock is missing; on Debian and Ubuntu the package util-linux contains it"
    cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/tensorflow-built-wheels
    if ! mkdir -p "$cache" 2> /dev/null || ! [ -w "$cache" ]; then
        fail "$cache is not writable; XDG_CACHE_HOME sets another folder for cached wheels"
    fi
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Locks the environment for the rest of the script.
claim_environment() {
    exec 9> "$data/.$(basename "$0").lock"
    if ! flock -n 9; then
        say "another installation is running in $data; waiting for it"
        flock 9
    fi
    log=$cache/$(basename "$0" .sh)-$(cksum <<< "$data" | cut -d ' ' -f 1).log
    : > "$log" || fail "$log cannot be written"
}

logged() {
    echo "+ $*" >> "$log"
    "$@" >> "$log" 2>&1 8>&- 9>&-
}

pip_install() {
    logged "$python" -P -m pip install --disable-pip-version-check "${@:2}" \
        || fail "the installation of $1 failed$(why)"
}

# The end of a sentence about the last logged command: its first error, and the path of the log.
why() {
    local words
    words=$(LC_ALL=C awk '/^\+ / { found = "" } found == "" && /([Ee]rror|ERROR|CMake Error.*): / { found = $0 }
        END { sub(/^[ 	]+/, "", found); print substr(found, 1, 300) }' "$log")
    echo "${words:+ ($words)}; the whole output is in $log"
}

# Creates a build folder with links to everything: CMake and compiler flags do not support paths with blanks.
prepare_work() {
    local place=${TMPDIR:-/tmp}
    if [[ $place == *[[:space:]]* ]]; then
        place=/tmp
    fi
    work=$(mktemp -d "$place/built_wheels.XXXXXX")
    mkdir "$work/wheels" "$work/bin"
    ln -s "$(dirname "$tensorflow_folder")" "$work/site"
    ln -s "$data" "$work/environment"
}

prepare_tools() {
    pip_install "the build tools" --target "$work/tools" --requirement "$LAUNCH_ROOT/requirements/build.txt"
    build_path=$work/bin:$work/tools/cmake/data/bin:$PATH
    build_pythonpath=$work/tools:$work/site
}

check_compilers() {
    local tool
    for tool in "${CXX:-c++}" "${CC:-cc}" make; do
        # shellcheck disable=SC2086 # CXX may be a compiler with flags
        if ! command -v ${tool%% *} > /dev/null; then
            fail "$tool is missing, which compiles $1; on Debian and Ubuntu 'apt-get install build-essential'\
 installs a compiler and make"
        fi
    done
}

# Tells whether the folder holds a complete wheel.
sound_wheel() {
    [ -s "$1/sha256" ] && (cd "$1" && sha256sum --check --status sha256 2> /dev/null)
}

# Sets folder to the cache folder of a wheel; its name depends on the content of the recipe's files.
wheel_folder() {
    folder=$cache/$1-$(cat "${@:2}" "$LAUNCH_ROOT/requirements/build.txt" | sha256sum | cut -c 1-8)
}

# Sets wheel to the cached wheel or a newly built one, and fresh to whether it was built now.
obtain_wheel() {
    exec 8> "$folder.lock"
    if ! flock -n 8; then
        say "another process is building the same wheel; waiting for it"
        flock 8
    fi
    fresh=no
    if ! sound_wheel "$folder"; then
        rm -rf "$folder" "$folder.part"
        prepare_work
        "$1"
        mkdir "$folder.part"
        mv "$work"/wheels/*.whl "$folder.part"
        (cd "$folder.part" && sha256sum -- *.whl > sha256)
        mv "$folder.part" "$folder"
        rm -rf "$work"
        work=""
        fresh=yes
    fi
    exec 8>&-
    wheel=$(echo "$folder"/*.whl)
}

# Builds a wheel with pip and shows the progress of make: build_with_pip WHAT [pip's arguments...]
build_with_pip() {
    local what=$1 shown=-1 percent status=0
    shift
    set -m # its own process group, so that all of it can be ended
    PATH=$build_path PYTHONPATH=$build_pythonpath logged "$python" -P -m pip wheel --verbose --no-cache-dir \
        --no-build-isolation --no-deps --disable-pip-version-check --wheel-dir "$work/wheels" "$@" < /dev/null &
    building=$!
    set +m
    while kill -0 "$building" 2> /dev/null; do
        sleep 0.5
        percent=$(tail -c 20000 "$log" | grep -aoE '^ *\[ *[0-9]+%\]' | tail -n 1 | tr -dc 0-9 || true)
        if [ -n "$percent" ] && [ $((percent / 20)) -gt "$shown" ]; then
            shown=$((percent / 20))
            say "$what: $percent % compiled"
        fi
    done
    wait "$building" || status=$?
    building=""
    [ "$status" = 0 ] || fail "the compilation of $what failed$(why)"
}
