# shellcheck shell=bash
# Training over several jobs, for the sbatch files that train; they source this file in place of lib.sh.
# shellcheck source=slurm/lib.sh
. slurm/lib.sh

# train RUN [key=value ...] [--force]: start or resume configs/runs/RUN.yaml, and requeue the job when its time is up.
# Slurm signals this shell shortly before the time limit (--signal=B:USR1 in the headers). The shell then creates the
# file STOP: all ranks agree on a step, save and exit. (The signal itself would end torchrun without a checkpoint.)
train() {
  local run=$1 folder signalled='' code=0
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
  mkdir -p "$folder"
  rm -f "$folder/STOP"  # left by an earlier job
  trap : TERM  # a check of the nodes that requeues the job must live until Slurm knows which nodes to leave
  [ -z "${SLURM_JOB_ID:-}" ] || [ "${PREFLIGHT:-1}" = 0 ] || bash slurm/preflight.sh "$folder" || exit
  trap - TERM
  [ -z "${SLURM_JOB_ID:-}" ] || trap 'signalled=1; touch "$folder/STOP"' USR1
  torchrun_everywhere train/pretrain.py "configs/runs/$run.yaml" \
    --scale "$SCALE" --seed "$SEED" --out "$folder" --resume auto "$@" || code=$?
  # Requeue only if a checkpoint was written after STOP, so that a failing run does not start again and again.
  # torchrun's exit code does not tell.
  if [ -n "$signalled" ] && [ ! -e "$folder/DONE" ] && [ "$folder/checkpoints" -nt "$folder/STOP" ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 75  # stopped to be requeued
  fi
  [ "$code" = 0 ] || echo "slurm: training ended with exit code $code; the first 'error:' or 'stopped' above says why." \
    "If the ranks could not connect to each other, set NCCL_SOCKET_IFNAME in slurm/site.sh" >&2
  exit "$code"
}
