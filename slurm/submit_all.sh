#!/usr/bin/env bash
# The whole path as a chain of jobs: archives, corpus, tokenizer, tokens, training, evaluation, export, figures.
#   SRC=/scratch/arxiv/src METADATA=/scratch/arxiv/metadata.json bash slurm/submit_all.sh [sbatch option ...] [key=value ...]
#   SCALE=mini RUNS_LIST="run20 run08" SEEDS="0 1" bash slurm/submit_all.sh --dry-run     # jobs, hours, disk space
# Call it again at any time: it submits only what is neither there nor queued. From the environment, as for
# slurm/preprocess.sh: SRC METADATA DATA SCALE TASKS; and RUNS_LIST (default run20), SEEDS (default 0). CPU_OPTIONS and
# GPU_OPTIONS hold sbatch options for jobs without and with GPUs: GPU_OPTIONS="--partition=gpu --nodes=2".

cd "$(dirname "$0")/.."
[ -f slurm/lib.sh ] || { echo "call bash slurm/submit_all.sh; sbatch cannot submit it" >&2; exit 2; }
. slurm/lib.sh
unset STAGE VARIANT TOKENIZER  # each job has its own
[ -z "${DATA:-}" ] || export ARXIV_DATA=$DATA
export SCALE ARXIV_RUNS=${ARXIV_RUNS:-runs}

options=() values=() plan=(--scale "$SCALE" --runs "${RUNS_LIST:-run20}" --seeds "${SEEDS:-0}")
for argument in "$@"; do
  case $argument in --dry-run) dry_run=1 ;; -*) options+=("$argument") ;; *) values+=("$argument") ;; esac
done

# A killed copy of this script releases the lock; a file system without locks refuses it with another code than 9.
mkdir -p "$ARXIV_RUNS" && exec 9>>"$ARXIV_RUNS/.submit_all.lock"
[ -n "${dry_run:-}" ] || flock -E 9 -n 9 || [ $? != 9 ] || fail "another submit_all.sh submits jobs for $ARXIV_RUNS: wait for it"

queue=''
if command -v squeue >/dev/null; then
  queue=$(timeout 60 squeue --noheader --format '%F|%T|%u|%k') || no_answer="squeue gets no answer from Slurm"
else
  no_answer="there is no Slurm here; on one machine run make preprocess and make study"
fi
[ -n "${dry_run:-}" ] || [ -z "${no_answer:-}" ] || fail "$no_answer"
if [ -n "${dry_run:-}" ]; then run_python train/chain.py "${plan[@]}" --dry-run "${values[@]}" <<<"$queue"; exit; fi
links=$(run_python train/chain.py "${plan[@]}" "${values[@]}" <<<"$queue") || exit
jobs=() submitted=0 checked=''
while IFS=$'\x1f' read -r index action old name script run flags environment after result; do
  jobs[index]=$old
  [ "$action" = submit ] || continue
  case $checked$name in filter_metadata | validate_archives)  # now, rather than after a day in the queue
    run_python preprocess/check_inputs.py --scale "$SCALE" ${SRC:+--src "$SRC"} ${METADATA:+--metadata "$METADATA"} </dev/null
    checked=1 ;;
  esac
  # shellcheck disable=SC2086  # a list of numbers
  [ -z "$old" ] || { scancel $old && echo "$name: cancelled job $old, which waited for a job that is gone"; }
  mine=(--parsable --job-name="$name" --comment="$result" --kill-on-invalid-dep=yes) arguments=() wait_for=''
  for before in $after; do for job in ${jobs[before]}; do wait_for+=:$job; done; done
  [ -z "$wait_for" ] || mine+=(--dependency="afterok$wait_for")
  case $flags in *is_array*) mine+=(--array="0-$((${TASKS:-64} - 1))") ;; esac
  case $flags in *on_gpu*) read -ra more <<<"${GPU_OPTIONS:-}" ;; *) read -ra more <<<"${CPU_OPTIONS:-}" ;; esac
  [ -z "$run" ] || arguments+=("$run")
  case $flags in *trains*) arguments+=("${values[@]}") ;; esac
  # shellcheck disable=SC2086  # a list of KEY=VALUE without spaces
  job=$(env $environment sbatch "${mine[@]}" "${more[@]}" "${options[@]}" "slurm/$script" "${arguments[@]}" </dev/null)
  jobs[index]=${job%%;*} submitted=$((submitted + 1))  # sbatch prints JOB;CLUSTER if there are several clusters
  echo "$name: job ${jobs[index]} makes $result"
done <<<"$links"
[ "$submitted" != 0 ] || echo "nothing to submit: every result is there or on its way"
