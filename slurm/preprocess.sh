#!/usr/bin/env bash
# Raw archives to token shards as a chain of jobs, one a stage: make preprocess on a cluster, with the same bytes.
#   SRC=/scratch/arxiv/src METADATA=/scratch/arxiv/metadata.json TASKS=64 bash slurm/preprocess.sh
# Called without a stage it submits itself for each of them. A stage waits for the whole stage before it, since its
# array shares out the shards that it finds. After a failure call it again: finished shards are not made again.
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
TASKS=${TASKS:-64}  # 50 of arXiv's tars each

submit() {  # submit STAGE [OPTION ...]: prints the job's number
  local stage=$1
  shift
  sbatch --parsable --job-name="$stage" --kill-on-invalid-dep=yes "$@" slurm/preprocess.sh "$stage" | cut -d';' -f1
}

submit_all() {
  command -v sbatch >/dev/null || fail "no sbatch here: on one machine it is make preprocess"
  local stage job='' options
  for stage in filter_metadata validate_archives extract_latex normalize_text filter_quality \
    deduplicate split_corpus train_tokenizer tokenize_corpus; do
    options=()
    case $stage in  # the others look at the whole corpus, or read one file
      validate_archives | extract_latex | normalize_text | filter_quality | tokenize_corpus)
        options+=(--array="0-$((TASKS - 1))") ;;
    esac
    job=$(submit "$stage" "${options[@]}" ${job:+--dependency=afterok:"$job"})
    echo "$stage: job $job"
  done
}

run_stage() {  # an array's task reads its share from SLURM_ARRAY_TASK_ID and _COUNT
  local stage=$1
  local arguments=(--variant "${VARIANT:-main}" --scale "$SCALE" --workers "$SLURM_CPUS_PER_TASK")
  [ -z "${SRC:-}" ] || arguments+=(--src "$SRC")
  [ -z "${METADATA:-}" ] || arguments+=(--metadata "$METADATA")
  case $stage in *token*) arguments+=(--tokenizer "${TOKENIZER:-main}") ;; esac
  run_python "preprocess/$stage.py" "${arguments[@]}"
}

[ -z "${DATA:-}" ] || export ARXIV_DATA=$DATA
if [ $# -eq 0 ]; then submit_all; else run_stage "$1"; fi
