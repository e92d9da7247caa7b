#!/usr/bin/env bash
# The figures of the runs at one scale: SCALE=mini sbatch slurm/figures.sh   (or bash, on a workstation)
#SBATCH --job-name=figures
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1       # one thread draws
#SBATCH --mem=8G                # the logs of all runs as tables
#SBATCH --time=00:30:00
#SBATCH --output=%x-%j.out      # in the folder of submission: Slurm makes no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh
run_python analysis/plot_runs.py --scale "$SCALE" "$@"
