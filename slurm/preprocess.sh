#!/usr/bin/env bash
# Raw archives to token shards as a chain of jobs, one a stage: make preprocess on a cluster, with the same bytes.
#   SRC=/scratch/arxiv/src METADATA=/scratch/arxiv/metadata.json TASKS=64 bash slurm/preprocess.sh [sbatch option ...]
# It submits itself once for each STAGE. A stage waits for the whole stage before it, since its array shares out the
# shards that it finds. After a failure call it again: finished shards are not made again.
# From the environment, as with make: SRC METADATA DATA VARIANT SCALE TOKENIZER; TASKS is the size of an array.
#SBATCH --nodes=1               # a stage is one process pool; more machines are more tasks of its array
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16      # worker processes of a task
#SBATCH --mem-per-cpu=4G        # a worker holds one submission at a time, the corpus-wide stages a table of hashes
#SBATCH --time=1-00:00:00       # far more than a task of 50 tars takes
#SBATCH --requeue               # a lost node starts the task again; it makes what is missing
#SBATCH --open-mode=append      # then the log goes on
#SBATCH --output=%x-%j.out      # in the folder of submission: Slurm makes no folders

[ -n "${SLURM_JOB_ID:-}" ] || cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "$PWD holds no slurm/lib.sh: call it in the root of the checkout" >&2; exit 2; }
. slurm/lib.sh

submit_all() {  # submit_all [SBATCH OPTION ...]: each stage after the one before it
  command -v sbatch >/dev/null || fail "no sbatch here: on one machine it is make preprocess"
  run_python preprocess/check_inputs.py "${arguments[@]}"  # now, not in a job that has queued for a day
  local stages job='' last_task=$((${TASKS:-64} - 1))  # 64: 50 of arXiv's tars each
  stages=$(run_python -m configs.stages)
  while read -r STAGE kind; do
    local options=(--parsable --job-name="$STAGE" --kill-on-invalid-dep=yes)
    [ -z "$job" ] || options+=(--dependency=afterok:"$job")
    case $kind in shards | tokens) options+=(--array="0-$last_task") ;; esac  # the others are one task
    job=$(STAGE=$STAGE sbatch "${options[@]}" "$@" slurm/preprocess.sh </dev/null)
    job=${job%%;*}  # JOB;CLUSTER where there are several clusters
    echo "$STAGE: job $job"
  done <<<"$stages"
}

run_stage() {  # the task of an array reads its share from SLURM_ARRAY_TASK_ID and _COUNT
  case $STAGE in *token*) arguments+=(--tokenizer "${TOKENIZER:-main}") ;; esac
  run_python "preprocess/$STAGE.py" "${arguments[@]}"
}

[ -z "${DATA:-}" ] || export ARXIV_DATA=$DATA
arguments=(--variant "${VARIANT:-main}" --scale "$SCALE" --workers "${SLURM_CPUS_PER_TASK:-1}")
[ -z "${SRC:-}" ] || arguments+=(--src "$SRC")
[ -z "${METADATA:-}" ] || arguments+=(--metadata "$METADATA")
if [ -z "${STAGE:-}" ]; then submit_all "$@"; else run_stage; fi
