# shellcheck shell=bash
# Training over several jobs, for the sbatch files that train; they source this file in place of lib.sh.
# shellcheck source=slurm/lib.sh
. slurm/lib.sh

# end_steps TRAINING: end what srun has started, and srun, which does not end by itself after a step daemon's death
end_steps() {
  local step
  for step in $(squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format=%i | grep -E '\.[0-9]+$'); do
    scancel --signal=KILL "$step" || true
  done
  for _ in {1..10}; do kill -0 "$1" 2>/dev/null || return 0; sleep 1; done
  kill -KILL -- "-$1" || true
}

end_time() {  # when this job's time is up, in seconds since 1970; fails if it has no limit
  date -d "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e)" +%s 2>/dev/null
}

# train RUN [key=value ...] [--force]: start or resume configs/runs/RUN.yaml; start the job again when its time is up
# or something fails. train/restart decides that and says why; this function carries it out.
# Slurm signals this shell shortly before the time limit (--signal=B:USR1 in the headers) and on preemption. The shell
# then creates the attempt's file STOP: all ranks agree on a step, save and exit. (The signal itself would end torchrun
# without a checkpoint.)
train() {
  local run=$1 folder attempt training watch code=0
  shift
  look_at_allocation
  # Run the checks of train/pretrain.py that need no GPU before a hundred processes start.
  folder=$(run_python - "$run" "$SCALE" "$SEED" "$((NODES * RANKS_PER_NODE))" "$@" <<'END'
import sys
from pathlib import Path
from configs.loader import default_data_root, default_runs_root, parse_overrides, run_main
from train.config import load_run
from train.data.shards import open_tokens

def main() -> None:
    name, scale, seed, world_size, *more = sys.argv[1:]
    overrides = [word for word in more if word != "--force"]
    run = load_run(Path("configs/runs", f"{name}.yaml"), scale, int(seed), parse_overrides(overrides))
    run.grad_accum_steps(int(world_size))
    open_tokens(default_data_root(scale), run.recipe.corpus, run.recipe.tokenizer, "train")
    print(default_runs_root() / run.run_id)

run_main(main)
END
  ) || exit
  set -- train/pretrain.py "configs/runs/$run.yaml" --scale "$SCALE" --seed "$SEED" --out "$folder" --resume auto "$@"
  if [ -z "${SLURM_JOB_ID:-}" ]; then torchrun_everywhere "$@"; exit; fi

  attempt="$folder/attempts/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"
  mkdir -p "$attempt"
  trap 'touch "$attempt/STOP"' USR1
  # Older Slurms (22.05) do not set these. The ranks stop by themselves in time if no signal comes.
  export SLURM_JOB_START_TIME=${SLURM_JOB_START_TIME:-$(date +%s)} SLURM_JOB_END_TIME=${SLURM_JOB_END_TIME:-}
  [ -n "$SLURM_JOB_END_TIME" ] || SLURM_JOB_END_TIME=$(end_time) || true
  trap : TERM  # a check of the nodes that requeues the job must live until Slurm knows which nodes to leave
  [ "${PREFLIGHT:-1}" = 0 ] || bash slurm/preflight.sh "$folder" || exit
  trap - TERM
  set -m  # each of the two is a process group, which can be killed as a whole
  (export ATTEMPT=$attempt; torchrun_everywhere "$@") &
  training=$!
  run_python train/restart/batch.py watch "$attempt" --ranks "$((NODES * RANKS_PER_NODE))" >"$attempt/ended_by" &
  watch=$!
  while kill -0 "$training" 2>/dev/null && kill -0 "$watch" 2>/dev/null; do wait -n "$training" "$watch" || true; done
  if kill -0 "$training" 2>/dev/null; then end_steps "$training"; else { kill "$watch" && wait "$watch"; } 2>/dev/null || true; fi
  while kill -0 "$training" 2>/dev/null; do wait "$training" || true; done  # a signal ends `wait` as well
  wait "$training" || code=$?
  trap : TERM  # with which a requeue ends this shell, perhaps before Slurm knows which nodes to leave
  run_python train/restart/batch.py judge "$folder" "$attempt" --code "$code" --ended-by "$(cat "$attempt/ended_by")"
}
