# Creates an environment in the clone and installs pinned requirements into it, once for each set of them. Sourced by
# scripts.
#
#   source utils/shell/setup_venv.sh
#   setup_venv requirements.txt      # needs the repository's root as the current folder
#
# VENV is the environment, by default .venv. PYTHON is the interpreter for it; by default the first of 3.11 to 3.13 on the
# PATH. VENV_OPTIONS are options of `python -m venv`, such as --system-site-packages if TensorFlow is installed already:
# what this TensorFlow needs then keeps its version.

venv_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null
}

venv_find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.13 python; do
        if command -v "$candidate" > /dev/null && venv_supported "$candidate"; then
            echo "$candidate"
            return
        fi
        if [ -n "${PYTHON:-}" ]; then
            break
        fi
    done
    echo "Python 3.11, 3.12 or 3.13 is needed; ${PYTHON:-python3} is $( ("${PYTHON:-python3}" --version 2>&1 || true) | head -n 1)." \
        "Install one, or name one: PYTHON=/path/to/python3.12 bash $0" >&2
    return 2
}

# A TensorFlow of the system and what it needs, with their versions, as constraints for pip.
VENV_KEPT='
import importlib.metadata as metadata, re
for distribution in metadata.packages_distributions().get("tensorflow", [])[:1]:
    needed = [line for line in metadata.requires(distribution) or [] if "extra ==" not in line]
    for name in (distribution, *(re.match("[A-Za-z0-9._-]+", line).group() for line in needed)):
        try:
            print(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            pass
'

setup_venv() {
    local requirements=$1 venv=${VENV:-.venv} python wanted stamp
    local -a kept=()
    if ! venv_supported "$venv/bin/python"; then
        python=$(venv_find_python) || return 2
        rm -rf "$venv"
        # shellcheck disable=SC2086 # the options are meant to be split
        if ! "$python" -m venv ${VENV_OPTIONS:-} "$venv"; then
            rm -rf "$venv"
            echo "$python cannot create a virtual environment; on Debian and Ubuntu the package python3-venv is missing." >&2
            return 2
        fi
        if grep -qi '^include-system-site-packages *= *true' "$venv/pyvenv.cfg"; then
            "$venv/bin/python" -c "$VENV_KEPT" > "$venv/kept.txt"
        fi
    fi
    stamp=$venv/installed-${requirements//\//-}
    wanted=$(cat requirements.txt requirements/*.txt | cksum)
    if [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ]; then
        return
    fi
    [ ! -f "$venv/kept.txt" ] || kept=(--constraint "$venv/kept.txt")
    echo "Installing $requirements into $venv (some minutes, once)" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${kept[@]+"${kept[@]}"} \
        --requirement "$requirements" || {
        echo "The installation of $requirements failed; see the output of pip above." >&2
        return 1
    }
    echo "$wanted" > "$stamp"
}
