#!/usr/bin/env bash
# Export a run's newest checkpoint for transformers, vLLM and lm-eval to the folder hf/ beside its checkpoints:
#   sbatch slurm/export.sh run20   (on a workstation: bash slurm/export.sh run20)
# SCALE and SEED come from the environment, as for training.
#SBATCH --job-name=export
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2       # reading and writing; there is nothing to compute
#SBATCH --mem=32G               # the fp32 weights of the full model (5.4 GB), twice while they are loaded, and their bf16 copy
#SBATCH --time=01:00:00
#SBATCH --requeue               # after a node failure it starts again
#SBATCH --open-mode=append      # and continues its log
#SBATCH --output=%x-%j.out      # in the folder where sbatch is called, because Slurm creates no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh
[ $# = 1 ] || fail "which run? sbatch slurm/export.sh run20"
folder=${ARXIV_RUNS:-runs}/$SCALE/$1/seed$SEED
run_python train/export_hf.py "$folder" --out "$folder/hf"
