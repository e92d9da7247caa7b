#!/usr/bin/env bash
# Draw the figures of one scale's runs: SCALE=mini sbatch slurm/figures.sh   (on a workstation: bash slurm/figures.sh)
#SBATCH --job-name=figures
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1       # plot_runs.py uses one thread
#SBATCH --mem=8G                # the logs of all runs as tables
#SBATCH --time=00:30:00
#SBATCH --output=%x-%j.out      # in the folder where sbatch is called, because Slurm creates no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call sbatch in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh
run_python analysis/plot_runs.py --scale "$SCALE" "$@"
