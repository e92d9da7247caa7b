#!/usr/bin/env bash
# Many runs as one array job, a task for each run and seed, on the token shards that slurm/preprocess.sh made:
#   SCALE=mini RUNS_LIST="run20 run08" SEEDS="0 1 2" bash slurm/train_sweep.sh [sbatch option ...] [key=value ...]
# RUNS_LIST is all 24 runs by default; RUNS_LIST=ladder is the scaling ladder. Call it again after a failure: finished
# runs end at once, others go on from their last checkpoint. On one machine, make study does the same.
#SBATCH --job-name=sweep
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

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call it in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh

list_runs() {  # a line `run seed` for each task
  local arguments=(--scale "$SCALE" --seeds "${SEEDS:-0}" --list)
  if [ "${RUNS_LIST:-}" = ladder ]; then arguments+=(--ladder); else arguments+=(--runs "${RUNS_LIST:-}"); fi
  run_python train/study.py "${arguments[@]}"
}

submit() {  # submit [sbatch option ...] [key=value ...]: the array
  local options=() values=() runs job
  for argument in "$@"; do
    case $argument in -*) options+=("$argument") ;; *) values+=("$argument") ;; esac
  done
  runs=$(list_runs) || exit
  command -v sbatch >/dev/null || fail "no sbatch here: on one machine it is make study"
  export SCALE RUNS_LIST=${RUNS_LIST:-} SEEDS=${SEEDS:-0}
  job=$(sbatch --parsable --array="0-$(($(wc -l <<<"$runs") - 1))" "${options[@]}" slurm/train_sweep.sh "${values[@]}")
  echo "job ${job%%;*}, its tasks from 0:"
  echo "$runs"
}

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then submit "$@"; exit; fi
read -r run SEED < <(list_runs | sed -n "$((SLURM_ARRAY_TASK_ID + 1))p")
train "$run" "$@"
