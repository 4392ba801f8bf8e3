# Starts a Python program in one process, or in several through MPI or Horovod's launcher. Sourced by scripts.
#
#   source utils/launch.sh
#   launch <processes> <program> [arguments...]                # takes the shell's place: nothing after it runs
#   launch_logged <log> <processes> <program> [arguments...]   # adds its output to a file too; returns its status
#
# The program is named from the repository's root; the current folder stays what it is, so that relative paths among
# the arguments mean what the caller meant. The exit status is the program's, and SIGTERM, SIGINT, SIGUSR1 and SIGHUP
# sent to the script reach the program. Of several processes it is mpiexec that gets them: Open MPI passes SIGUSR1 on to
# its processes, and ends them at SIGTERM.
#
#   DRY_RUN=1   prints the command, quoted for a shell, and does nothing
#   PYTHON      the interpreter; without it the clone's .venv, else python3 or python on the PATH
set -euo pipefail
LAUNCH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

launch_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} "$LAUNCH_ROOT/.venv/bin/python" python3 python; do
        if command -v "$candidate"; then
            return
        fi
        if [ -n "${PYTHON:-}" ]; then
            echo "PYTHON=$PYTHON: there is no such program" >&2
            return 2
        fi
    done
    echo "No Python on the PATH and no .venv in $LAUNCH_ROOT; name an interpreter: PYTHON=/path/to/python bash $0" >&2
    return 2
}

# The way to the program $1 on the PATH or beside the interpreter $2; nothing where it is in neither.
launch_find() {
    command -v "$1" || command -v "$(dirname "$2")/$1" || true
}

# Sets launch_command to what starts $2 processes of the interpreter $1.
launch_prefix() {
    local python=$1 processes=$2 mpiexec horovodrun
    mpiexec=$(launch_find mpiexec "$python")
    horovodrun=$(launch_find horovodrun "$python")
    launch_command=()
    if [ "$processes" -eq 1 ]; then
        return
    fi
    if [ -z "$mpiexec" ] && [ -n "$horovodrun" ]; then
        launch_command=("$horovodrun" -np "$processes" -H "localhost:$processes")
        return
    fi
    if [ -z "$mpiexec" ] && [ "${DRY_RUN:-0}" != 1 ]; then
        echo "$processes processes need mpiexec (Open MPI) or horovodrun; neither is on the PATH or beside $python" >&2
        return 2
    fi
    launch_command=("${mpiexec:-mpiexec}" --allow-run-as-root -np "$processes" -H "localhost:$processes"
        --bind-to none --map-by slot -x "NCCL_DEBUG=${NCCL_DEBUG:-INFO}" -x LD_LIBRARY_PATH -x PATH
        --mca pml ob1 --mca btl ^openib)
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} # mpiexec complains of a variable to pass on that is not set
}

launch() {
    local processes=${1:?launch: how many processes?} program=${2:?launch: which program?} python
    local -a launch_command
    shift 2
    if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
        echo "launch: $processes processes: must be a positive integer" >&2
        exit 2
    fi
    python=$(launch_python) || exit
    launch_prefix "$python" "$processes" || exit
    launch_command+=("$python" -u "$LAUNCH_ROOT/$program" "$@")
    if [ "${DRY_RUN:-0}" = 1 ]; then
        printf '%q ' "${launch_command[@]}" | sed 's/ $//'
        echo
        exit
    fi
    exec "${launch_command[@]}"
}

# Passes a signal on to launch_logged's program, or keeps it until that is there.
launch_forward() {
    if [ -n "$child" ]; then
        kill "-$1" "$child" 2> /dev/null || true
    else
        pending=$1
    fi
}

launch_logged() {
    local log=$1 writer child="" pending="" signal status=0
    shift
    if [ "${DRY_RUN:-0}" = 1 ]; then
        (launch "$@")
        return
    fi
    mkdir -p "$(dirname "$log")" || return
    exec 3> >(trap '' TERM INT USR1 HUP && exec tee -a -- "$log") # it ends when the program does
    writer=$!
    for signal in TERM INT USR1 HUP; do
        # shellcheck disable=SC2064 # the signal's name is meant to be filled in now
        trap "launch_forward $signal" "$signal"
    done
    set -m # a process group of its own: Ctrl-C must reach the program once, from here, and not the rest of the script
    (launch "$@") < /dev/null >&3 2>&1 3>&- &
    child=$!
    set +m
    exec 3>&-
    if [ -n "$pending" ]; then
        launch_forward "$pending"
    fi
    while kill -0 "$child" 2> /dev/null; do
        wait "$child" || true # returns early when a signal comes
    done
    wait "$child" || status=$?
    trap - TERM INT USR1 HUP
    wait "$writer" || true # the last lines are in the log
    return "$status"
}
