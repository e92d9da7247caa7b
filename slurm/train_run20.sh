#!/usr/bin/env bash
# Train Run 20, the final recipe on 200 GB: sbatch slurm/train_run20.sh [key=value ...]   (on a workstation: bash ...)
# SCALE (full, mini, demo) and SEED come from the environment: SCALE=mini SEED=1 sbatch slurm/train_run20.sh
#SBATCH --job-name=run20
#SBATCH --nodes=1               # as in the paper; --nodes=2 gives the same losses in less time
#SBATCH --gres=gpu:a100:2       # 2 x A100 80 GB, one rank each; any number that divides the batch works
#SBATCH --ntasks-per-node=1     # one torchrun per node, which starts the ranks
#SBATCH --cpus-per-task=16      # 8 per rank: its data workers, the checkpoint writer, NCCL's threads
#SBATCH --mem=128G              # a checkpoint's copy in host memory (16 GB of states) and the page cache of token shards
#SBATCH --time=1-00:00:00       # most queues allow a day; the run is requeued until it is done
#SBATCH --signal=B:USR1@600     # to the batch shell 10 min before the limit; two steps and a checkpoint take less
#SBATCH --requeue               # after a node failure too the job starts again, from the last checkpoint
#SBATCH --open-mode=append      # and continues its log
#SBATCH --output=%x-%j.out      # in the folder where sbatch is called, because Slurm creates no folders

# Under Slurm, $0 is a copy in a spool folder, and this shell starts in the folder where sbatch was called.
[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/training.sh ] || { echo "$PWD holds no slurm/training.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/training.sh
train run20 "$@"
