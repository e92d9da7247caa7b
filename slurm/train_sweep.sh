#!/usr/bin/env bash
# Train many runs in one array job, with a task for each run and seed, on token shards made by slurm/preprocess.sh:
#   SCALE=mini RUNS_LIST="run20 run08" SEEDS="0 1 2" bash slurm/train_sweep.sh [sbatch option ...] [key=value ...]
# RUNS_LIST is all 24 runs by default; RUNS_LIST=ladder selects the scaling ladder. Call the script again after a
# failure: finished runs end at once, others resume from their last checkpoint. On one machine use make study.
#SBATCH --job-name=sweep
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

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/training.sh ] || { echo "$PWD holds no slurm/training.sh: call it in the root of the checkout" >&2; exit 2; }
. slurm/training.sh

list_runs() {  # print a line `run seed` for each task
  local arguments=(--scale "$SCALE" --seeds "${SEEDS:-0}" --list)
  if [ "${RUNS_LIST:-}" = ladder ]; then arguments+=(--ladder); else arguments+=(--runs "${RUNS_LIST:-}"); fi
  run_python train/study.py "${arguments[@]}"
}

submit() {  # submit [sbatch option ...] [key=value ...]: submit the array
  local options=() values=() runs job
  for argument in "$@"; do
    case $argument in -*) options+=("$argument") ;; *) values+=("$argument") ;; esac
  done
  runs=$(list_runs) || exit
  command -v sbatch >/dev/null || fail "there is no sbatch here; on one machine run make study"
  export SCALE RUNS_LIST=${RUNS_LIST:-} SEEDS=${SEEDS:-0}
  job=$(sbatch --parsable --array="0-$(($(wc -l <<<"$runs") - 1))" "${options[@]}" slurm/train_sweep.sh "${values[@]}")
  echo "job ${job%%;*}, with these tasks from 0 on:"
  echo "$runs"
}

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then submit "$@"; exit; fi
read -r run SEED < <(list_runs | sed -n "$((SLURM_ARRAY_TASK_ID + 1))p")
train "$run" "$@"
