#!/usr/bin/env bash
# Runs a launch script on two nodes of 8 GPUs under SLURM, and requeues it after a preemption until it is done.
#
#   sbatch examples/slurm_two_nodes.sh SCRIPT [the script's arguments...]
#   sbatch examples/slurm_two_nodes.sh se-resnext101-32x4d/training/DGX1_SE-RNxt101-32x4d_AMP_90E.sh /results /data --xla
#
# Submit it from the clone. All nodes must see the clone, the data and the results under the same paths. Put partition,
# account and container on sbatch's command line or below. Five minutes before the time limit, and when another job
# preempts this one, SLURM signals the processes: they save and exit with status 75, and the job returns to the queue.
# There its number of nodes may be changed (scontrol update). Any other status ends the job with that status.
#
# DRY_RUN=1 bash examples/slurm_two_nodes.sh SCRIPT ... prints the command.
#
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=1-00:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

usage="usage: sbatch examples/slurm_two_nodes.sh SCRIPT [the script's arguments...]"
case ${1:---} in
    --help | -h) sed -n '2,/^#SBATCH/{/^#SBATCH/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
    -*) echo "$usage" >&2 && exit 2 ;;
esac
export LAUNCHER=srun SLURM_JOB_NUM_NODES=${SLURM_JOB_NUM_NODES:-2}
status=0
bash "$@" || status=$?
if [ "$status" = 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    echo "preempted with everything saved: job $SLURM_JOB_ID returns to the queue" >&2
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
