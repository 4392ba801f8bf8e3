#!/usr/bin/env bash
# Runs a command on the cores and memory close to a GPU of a DGX A100: bash utils/shell/bind_dgx_a100.sh COMMAND...
#
# The number of the GPU is that of the process on its machine: LAUNCH_RANK, SLURM_LOCALID,
# OMPI_COMM_WORLD_LOCAL_RANK or HOROVOD_LOCAL_RANK. A DGX A100 has 8 NUMA nodes of 16 cores with two threads each. Two GPUs belong to one node of
# every pair (0 and 1 to node 3, 2 and 3 to node 1, 4 and 5 to node 7, 6 and 7 to node 5), and none to the other. So the
# second GPU of a node gets the node's neighbour on the same socket; that way, 8 processes share out all cores. If a part
# of the binding is impossible (no numactl, another machine, a container that may not bind memory), the command runs
# without it, and the first process of the machine prints a warning. BIND=dgx_a100 of utils/launch.sh uses this.
set -euo pipefail

usage="usage: bash utils/shell/bind_dgx_a100.sh COMMAND [ARGUMENTS...]"
case ${1:---} in
    --help | -h)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit
        ;;
    -*) echo "$usage" >&2 && exit 2 ;;
esac
NODES=(3 2 1 0 7 6 5 4)
local_rank=${LAUNCH_RANK:-${SLURM_LOCALID:-${OMPI_COMM_WORLD_LOCAL_RANK:-${HOROVOD_LOCAL_RANK:-0}}}}

say() {
    if [ "$local_rank" = 0 ]; then
        echo "bind_dgx_a100.sh: $1" >&2
    fi
}

node=${NODES[$local_rank]:-}
hardware=$(numactl --hardware 2> /dev/null) || hardware="unknown"
if ! command -v numactl > /dev/null; then
    say "there is no numactl on the PATH: processes are not bound"
elif [ -z "$node" ]; then
    echo "bind_dgx_a100.sh: a DGX A100 has 8 GPUs: process $local_rank is not bound" >&2
elif [[ $hardware != "available: ${#NODES[@]} nodes "* ]]; then
    say "a DGX A100 has ${#NODES[@]} NUMA nodes, unlike this machine (${hardware%%$'\n'*}): processes are not bound"
elif numactl --cpunodebind="$node" --membind="$node" true 2> /dev/null; then
    exec numactl --cpunodebind="$node" --membind="$node" "$@"
elif numactl --cpunodebind="$node" true 2> /dev/null; then
    say "memory cannot be bound to NUMA node $node (in a container: --cap-add SYS_NICE): binding cores only"
    exec numactl --cpunodebind="$node" "$@"
else
    say "cores of NUMA node $node cannot be bound: processes are not bound"
fi
exec "$@"
