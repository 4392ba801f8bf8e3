# Starts a Python program in one or several processes, on this machine or on several. Sourced by scripts.
#
#   source utils/launch.sh
#   launch <processes> <program> [arguments...]                # replaces the shell: nothing after it runs
#   launch_logged <log> <processes> <program> [arguments...]   # also appends the output to a file; returns the status
#
# <program> is relative to the repository's root. The current folder does not change, so relative paths among the
# arguments keep their meaning. A single process is the interpreter itself. Several are started by mpiexec (Open MPI),
# horovodrun, srun or tools/launch.py; <processes> is their number per machine. Environment variables set the rest:
#
#   DRY_RUN=1      prints the command, quoted for a shell, without running it
#   PYTHON         the interpreter; by default the clone's .venv, else python3 or python on the PATH
#   HOSTS=a,b:4    the machines to run on; b gets 4 processes, a gets <processes>. Clone, interpreter and data must have
#                  the same paths on all of them. Under srun without HOSTS: all machines of the allocation
#   LAUNCHER       mpiexec, horovodrun, srun or launch; by default srun inside a SLURM allocation, else mpiexec if it is
#                  on the PATH or beside the interpreter, else horovodrun likewise, else launch: tools/launch.py, which
#                  needs nothing and starts processes on this machine only
#   LAUNCHER_ARGS  words for the launcher, split at spaces: "--mca btl_tcp_if_include eth0"
#   BIND           binding of each process: none (default), socket, core or numa, by mpiexec or srun; or dgx_a100, by
#                  utils/shell/bind_dgx_a100.sh. BIND_TO_SOCKET=1 is BIND=socket
#
# The exit status is the program's (horovodrun over Gloo turns any failure into 1). SIGTERM, SIGINT, SIGUSR1 and SIGHUP
# sent to the script reach the program. Open MPI kills its processes shortly after SIGTERM or SIGINT, so mpiexec gets
# SIGUSR1 instead, which it passes on before it waits. horovodrun would end and leave its processes behind, so those on
# this machine get SIGUSR1 directly. The second signal is passed on unchanged.
set -euo pipefail
LAUNCH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${DRY_RUN:-0} in
    0 | 1) ;;
    *) echo "DRY_RUN=$DRY_RUN: must be 1, or not set" >&2 && exit 2 ;;
esac

# For scripts that launch nothing: DRY_RUN=1 must not start a download.
launch_has_no_dry_run() {
    if [ "${DRY_RUN:-0}" = 1 ]; then
        echo "DRY_RUN=1: ${0##*/} downloads and installs, and has no dry run; --help describes it" >&2
        exit 2
    fi
}

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

# The path of the program $1 on the PATH or beside the interpreter $2; empty if it is in neither place.
launch_find() {
    command -v "$1" || command -v "$(dirname "$2")/$1" || true
}

launch_fail() {
    echo "$1" >&2
    return 2
}

# Sets places to the machines with their processes, a:8,b:4, and machines and total to the numbers of both.
# A machine named without a number gets $1 processes.
launch_places() {
    local processes=$1 place
    local -a named
    IFS=, read -rd '' -a named < <(printf '%s,' "${HOSTS:-localhost}") || true # several lines are one name: rejected
    places="" machines=${#named[@]} total=0
    for place in "${named[@]}"; do
        if ! [[ $place =~ ^[^:[:space:]]+(:[1-9][0-9]*)?$ ]]; then
            launch_fail "HOSTS=$HOSTS: must be names of machines, or name:processes, separated by commas" || return
        fi
        [[ $place == *:* ]] || place=$place:$processes
        places+=${places:+,}$place
        total=$((total + ${place##*:}))
    done
}

# Sets launcher to the kind of launcher and launcher_path to its path, for processes of the interpreter $1.
launch_choose() {
    local python=$1 mpiexec
    case ${LAUNCHER:-} in
        mpiexec | horovodrun | srun | launch) launcher=$LAUNCHER ;;
        "")
            mpiexec=$(launch_find mpiexec "$python")
            if [ -n "${SLURM_JOB_ID:-}" ] && [ -n "$(launch_find srun "$python")" ]; then
                launcher=srun
            elif [ -z "$mpiexec" ] && [ -n "$(launch_find horovodrun "$python")" ]; then
                launcher=horovodrun
            elif [ -z "$mpiexec${HOSTS:-}" ]; then
                launcher=launch
            else
                launcher=mpiexec
            fi
            ;;
        *) launch_fail "LAUNCHER=$LAUNCHER: must be mpiexec, horovodrun, srun or launch" || return ;;
    esac
    if [ "$launcher" = launch ]; then
        [ -z "${HOSTS:-}" ] ||
            launch_fail "HOSTS=$HOSTS: LAUNCHER=launch starts processes on this machine only; mpiexec starts them on others"
        return
    fi
    launcher_path=$(launch_find "$launcher" "$python")
    if [ -n "$launcher_path" ] || [ "${DRY_RUN:-0}" = 1 ]; then
        launcher_path=${launcher_path:-$launcher}
    elif [ -n "${LAUNCHER:-}" ]; then
        launch_fail "LAUNCHER=$LAUNCHER: there is no $LAUNCHER on the PATH or beside $python"
    else
        launch_fail "HOSTS=$HOSTS: needs mpiexec (Open MPI) or horovodrun; neither is on the PATH or beside $python"
    fi
}

# Sets binding to none, socket, core or numa, and wrapper to a command that does its own binding.
launch_binding() {
    binding=${BIND:-${BIND_TO_SOCKET:+socket}}
    wrapper=()
    case ${binding:=none} in
        none) ;;
        dgx_a100) wrapper=(bash "$LAUNCH_ROOT/utils/shell/bind_dgx_a100.sh") binding=none ;;
        socket | core | numa)
            [[ $launcher != horovodrun && $launcher != launch ]] ||
                launch_fail "BIND=$binding: $launcher does not bind processes; LAUNCHER=mpiexec does"
            ;;
        *) launch_fail "BIND=$binding: must be none, socket, core, numa or dgx_a100" ;;
    esac
}

# Sets launch_command for Open MPI; variables that a program may read are passed on to other machines.
launch_mpiexec() {
    local name
    launch_command=("$launcher_path" --allow-run-as-root -np "$total" -H "$places" --bind-to "$binding" --map-by slot
        -x "NCCL_DEBUG=${NCCL_DEBUG:-INFO}" -x LD_LIBRARY_PATH -x PATH)
    if [ -n "${HOSTS:-}" ]; then
        for name in $(compgen -e); do
            case $name in
                NCCL_DEBUG) ;;
                CUDA_* | HOROVOD_* | NCCL_* | NVIDIA_* | OMP_* | TF_* | XLA_*) launch_command+=(-x "$name") ;;
            esac
        done
    fi
    launch_command+=(--mca pml ob1 --mca btl ^openib)
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} # mpiexec warns if a variable to pass on is not set
}

# Sets launch_command for SLURM: $1 processes per machine, all ended when one fails.
launch_srun() {
    local processes=$1 place
    local -A cpu_bind=([none]=none [socket]=sockets [core]=cores [numa]=ldoms)
    for place in ${places//,/ }; do
        [ "${place##*:}" = "${places##*:}" ] ||
            launch_fail "HOSTS=$HOSTS: srun starts equally many processes on each machine; LAUNCHER=mpiexec need not" ||
            return
    done
    if [ -n "${HOSTS:-}" ]; then
        processes=${places##*:}
    else
        machines=${SLURM_JOB_NUM_NODES:-1}
    fi
    launch_command=("$launcher_path" "--nodes=$machines" "--ntasks=$((machines * processes))"
        "--ntasks-per-node=$processes" --kill-on-bad-exit=1 "--cpu-bind=${cpu_bind[$binding]}")
    if [ -n "${HOSTS:-}" ]; then
        launch_command+=("--nodelist=${places//:$processes/}")
    fi
    if [ -z "${SLURM_MPI_TYPE:-}" ]; then
        launch_command+=(--mpi=pmix) # the protocol of Open MPI 5; SLURM_MPI_TYPE selects another for srun
    fi
}

# Sets launch_command to the launcher's command for $2 processes of the interpreter $1 on each machine.
launch_prefix() {
    local python=$1 processes=$2 places machines total launcher_path binding
    local -a wrapper
    launcher=""
    launch_command=()
    launch_places "$processes" || return
    if [ "$processes" -eq 1 ] && [ -z "${HOSTS:-}${LAUNCHER:-}" ]; then
        return
    fi
    launch_choose "$python" || return
    launch_binding || return
    case $launcher in
        mpiexec) launch_mpiexec ;;
        horovodrun) launch_command=("$launcher_path" -np "$total" -H "$places") ;;
        launch) launch_command=("$python" "$LAUNCH_ROOT/tools/launch.py" -np "$total") ;;
        srun) launch_srun "$processes" || return ;;
    esac
    # shellcheck disable=SC2206 # the words are meant to be split
    launch_command+=(${LAUNCHER_ARGS:-} "${wrapper[@]}")
}

launch() {
    local processes=${1:?launch: how many processes?} program=${2:?launch: which program?} python launcher
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
    case $launcher in
        mpiexec) launch_guarded USR1 "${launch_command[@]}" ;;
        horovodrun)
            launch_ranks="$python -u $LAUNCH_ROOT/$program "
            launch_guarded USR1 "${launch_command[@]}"
            ;;
        *) exec "${launch_command[@]}" ;;
    esac
    exit
}

# Passes a signal on to the child, the first one as $gentle if that is set; keeps it until the child exists.
launch_forward() {
    if [ -z "$child" ]; then
        pending=$1
        return
    fi
    local passed_on=${gentle:-$1}
    gentle="" # before the kill: the next signal may come right after it
    if [ -n "${launch_ranks:-}" ]; then
        launch_tell_ranks "$passed_on"
    else
        kill "-$passed_on" "$child" 2> /dev/null || true
    fi
}

# Sends a signal to the descendants of $child whose command begins with $launch_ranks; to all if there are none yet.
launch_tell_ranks() {
    local status pid parent command
    local -a below=() ranks=()
    local -A parents=()
    for status in /proc/[0-9]*/status; do
        parent=$(sed -n 's/^PPid:\t//p' "$status" 2> /dev/null) || continue
        pid=${status#/proc/}
        parents[${pid%/status}]=$parent
    done
    for pid in "${!parents[@]}"; do
        parent=$pid
        while [ "${parent:-0}" -gt 1 ] && [ "$parent" != "$child" ]; do
            parent=${parents[$parent]:-0}
        done
        if [ "$parent" = "$child" ]; then
            below+=("$pid")
            command=$(tr '\0' ' ' 2> /dev/null < "/proc/$pid/cmdline") || continue
            [[ $command != "$launch_ranks"* ]] || ranks+=("$pid")
        fi
    done
    if [ "${#ranks[@]}" != 0 ]; then
        kill "-$1" "${ranks[@]}" 2> /dev/null || true
    else
        kill -TERM "${below[@]}" 2> /dev/null || true
    fi
}

# launch_guarded <signal or ""> <command...>: runs a command, passes this script's signals on, and returns its status.
launch_guarded() {
    local gentle=$1 child="" pending="" signal status=0
    shift
    for signal in TERM INT USR1 HUP; do
        # shellcheck disable=SC2064 # the signal's name is meant to be filled in now
        trap "launch_forward $signal" "$signal"
    done
    set -m # its own process group: Ctrl-C must reach the program once, from here, and not the rest of the script
    "$@" < /dev/null &
    child=$!
    set +m
    if [ -n "$pending" ]; then
        launch_forward "$pending"
    fi
    while kill -0 "$child" 2> /dev/null; do
        wait "$child" || true # returns early when a signal comes
    done
    wait "$child" || status=$?
    trap - TERM INT USR1 HUP
    return "$status"
}

launch_logged() {
    local log=$1 writer status=0
    shift
    if [ "${DRY_RUN:-0}" = 1 ]; then
        (launch "$@")
        return
    fi
    mkdir -p "$(dirname "$log")" || return
    exec 3> >(trap '' TERM INT USR1 HUP && exec tee -a -- "$log") # it ends when the program does
    writer=$!
    launch_guarded "" launch "$@" >&3 2>&1 3>&- || status=$?
    exec 3>&-
    wait "$writer" || true # the last lines are in the log
    return "$status"
}
