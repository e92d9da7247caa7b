#!/usr/bin/env bash
# Evaluate a run's newest checkpoint: sbatch slurm/evaluate.sh run20   (on a workstation: bash slurm/evaluate.sh run20)
# SCALE and SEED come from the environment, as for training. The result lies beside the checkpoints, in
# evaluation.val.jsonl, and is not made again for the same checkpoint and tokens.
#SBATCH --job-name=evaluate
#SBATCH --ntasks=1
#SBATCH --gres=gpu:a100:1       # one process; whole documents of each domain take minutes
#SBATCH --cpus-per-task=4       # the process and its reading
#SBATCH --mem=32G               # the fp32 weights of the full model (5.4 GB), twice while they are loaded
#SBATCH --time=02:00:00
#SBATCH --requeue               # after a node failure it starts again
#SBATCH --open-mode=append      # and continues its log
#SBATCH --output=%x-%j.out      # in the folder where sbatch is called, because Slurm creates no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh
[ $# = 1 ] || fail "which run? sbatch slurm/evaluate.sh run20"
folder=${ARXIV_RUNS:-runs}/$SCALE/$1/seed$SEED
run_python train/evaluate.py "$folder" --split val --out "$folder/evaluation.val.jsonl"
