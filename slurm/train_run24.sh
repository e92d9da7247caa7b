#!/usr/bin/env bash
# Run 24, the same on 20 GB: sbatch slurm/train_run24.sh [key=value ...]   (or bash, on a workstation)
# SCALE (full, mini, demo) and SEED come from the environment: SCALE=mini SEED=1 sbatch slurm/train_run24.sh
#SBATCH --job-name=run24
#SBATCH --nodes=1               # the paper's machine is one node; --nodes=2 gives the same losses, sooner
#SBATCH --gres=gpu:a100:2       # 2 x A100 80 GB, a rank each; any number that divides the batch will do
#SBATCH --ntasks-per-node=1     # one torchrun a node: it starts the ranks itself
#SBATCH --cpus-per-task=16      # 8 a rank: its data workers, the checkpoint writer, NCCL's threads
#SBATCH --mem=128G              # a checkpoint's copy in host memory (16 GB of states) and the token shards' page cache
#SBATCH --time=1-00:00:00       # a day at a time fits into most queues; the run is requeued until it is done
#SBATCH --signal=B:USR1@600     # to the batch shell 10 min before that: more than two steps and a checkpoint
#SBATCH --requeue               # a lost node too starts the job again, from the last checkpoint
#SBATCH --open-mode=append      # then the log goes on
#SBATCH --output=%x-%j.out      # in the folder of submission: Slurm makes no folders

# Under Slurm $0 is a copy in a spool folder and this shell starts where sbatch was called.
[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh
train run24 "$@"
