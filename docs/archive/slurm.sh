#!/bin/bash
# An archive on a Slurm cluster: sbatch slurm.sh SOURCE TARGET [options of gpen archive]
#
# Every node needs the same Python environment with gpen[archive], and sees SOURCE and TARGET under
# the same names. A job that runs into its time limit is submitted again and goes on.
#SBATCH --job-name=gpen-archive
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
set -euo pipefail

port=6379
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# One node leads; it works too.
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 20
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) \
        --exclude="$head" \
        ray start --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
    sleep 20
fi

# The batch script runs on the first node of the list, beside the head.
gpen archive "$@" --address "$head:$port" --device cuda --gpus_per_worker 0.5
