#!/usr/bin/env bash
# Preprocess on a cluster: raw archives to token shards in a chain of jobs, with the same bytes as make preprocess.
#   SRC=/scratch/arxiv/src METADATA=/scratch/arxiv/metadata.json TASKS=64 bash slurm/preprocess.sh [sbatch option ...]
# The script submits itself once for each stage. A stage waits until the one before it is complete, because the tasks of
# its array divide the shards that they find. After a failure call the script again: it keeps finished shards.
# From the environment, as for make: SRC METADATA DATA VARIANT SCALE TOKENIZER; TASKS is the size of an array.
#SBATCH --nodes=1               # a task is one pool of processes; more nodes take more tasks of the array
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16      # worker processes of a task
#SBATCH --mem-per-cpu=4G        # a worker holds one submission at a time; corpus-wide stages hold a table of hashes
#SBATCH --time=1-00:00:00       # far more than a task of 50 tars takes
#SBATCH --requeue               # after a node failure the task starts again and makes what is missing
#SBATCH --open-mode=append      # and continues its log
#SBATCH --output=%x-%j.out      # in the folder where sbatch is called, because Slurm creates no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call it in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh

submit_all() {  # submit_all [SBATCH OPTION ...]: submit all stages, each depending on the one before it
  command -v sbatch >/dev/null || fail "there is no sbatch here; on one machine run make preprocess"
  run_python preprocess/check_inputs.py "${arguments[@]}"  # now, rather than after a day in the queue
  local stages job='' last_task=$((${TASKS:-64} - 1))  # 64: 50 of arXiv's tars each
  stages=$(run_python -m configs.stages)
  while read -r STAGE kind rounds; do
    local options=(--parsable --job-name="$STAGE" --kill-on-invalid-dep=yes)
    case $kind:$rounds in shards:* | tokens:* | *:[1-9]*) options+=(--array="0-$last_task") ;; esac  # else a single task
    for ((round = 0; round == 0 || round < rounds; round++)); do  # a round needs what all tasks found in the one before
      job=$(STAGE=$STAGE sbatch "${options[@]}" ${job:+--dependency=afterok:"$job"} "$@" slurm/preprocess.sh </dev/null)
      job=${job%%;*}  # sbatch prints JOB;CLUSTER if there are several clusters
      echo "$STAGE: job $job"
    done
  done <<<"$stages"
}

run_stage() {  # the script finds its share of the shards in SLURM_ARRAY_TASK_ID and _COUNT
  case $STAGE in *token*) arguments+=(--tokenizer "${TOKENIZER:-main}") ;; esac
  run_python "preprocess/$STAGE.py" "${arguments[@]}"
}

[ -z "${DATA:-}" ] || export ARXIV_DATA=$DATA
arguments=(--variant "${VARIANT:-main}" --scale "$SCALE" --workers "${SLURM_CPUS_PER_TASK:-1}")
[ -z "${SRC:-}" ] || arguments+=(--src "$SRC")
[ -z "${METADATA:-}" ] || arguments+=(--metadata "$METADATA")
if [ -z "${STAGE:-}" ]; then submit_all "$@"; else run_stage; fi
