#!/usr/bin/env bash
# Are the nodes fit for training? sbatch --nodes=4 --gres=gpu:a100:8 slurm/preflight.sh   (on a workstation: bash ...)
# It looks at GPUs, memory and disks, times products and collectives, and names every node that is unfit. It takes
# seconds. Training jobs call it with their run's folder before they start, and start again without unfit nodes;
# PREFLIGHT=0 in their environment leaves it out.
#SBATCH --job-name=preflight
#SBATCH --nodes=2               # any number; each is compared with the others
#SBATCH --gres=gpu:a100:2       # all GPUs of a node, to see all of them
#SBATCH --ntasks-per-node=1     # one torchrun per node, which starts the ranks
#SBATCH --cpus-per-task=16      # as in training
#SBATCH --mem=32G               # a process takes about 3 GB of host memory
#SBATCH --time=00:10:00         # it ends by itself after 5 min, whatever hangs
#SBATCH --output=%x-%j.out      # in the folder where sbatch is called, because Slurm creates no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh

options=(--scale "$SCALE" --runs "${1:-${ARXIV_RUNS:-runs}/preflight}")
[ $# = 0 ] || options+=(--requeue)
reports=${1:-${ARXIV_RUNS:-runs}/preflight}/.node_check/${SLURM_JOB_ID:-$$}.${SLURM_RESTART_COUNT:-0}
mkdir -p "$reports"
look_at_allocation
# The reports tell what happened: torchrun fails as well if a node does not answer. The limit is srun's, in minutes.
SLURM_TIMELIMIT=5 torchrun_everywhere train/check_nodes.py "$reports" "${options[@]}" || true
trap : TERM  # which a requeue brings, before Slurm knows which nodes to leave
run_python train/check_nodes.py "$reports" "${options[@]}" --judge
