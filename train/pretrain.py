"""Train a run.

    torchrun --nproc_per_node 2 train/pretrain.py configs/runs/run20.yaml --scale demo [key=value ...]

In:  token shards in $DATA/tokens (preprocess/tokenize_corpus.py).
Out: in --out (default $RUNS/<scale>/<run>/seed<k>): config.yaml, log.<restart>.jsonl,
     checkpoints/step_<n>/, and DONE at the end.
Started again, it resumes from the newest intact checkpoint. A file STOP in the run's folder makes it save a
checkpoint and exit with code 75. torchrun itself then exits with 1; the file DONE marks a finished run.
"""

import argparse
import contextlib
import functools
import gc
import math
import os
import sys
from pathlib import Path

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import EXIT_REQUEUE, UserError, default_data_root, default_runs_root, parse_overrides
from train.blackbox import fault_error, write_black_box
from train.checkpoint.load import TrainState, find_changes, load_checkpoint, read_state, step_of
from train.checkpoint.resume import find_resume
from train.checkpoint.save import Saver
from train.config import explain, load_run, write_config
from train.data.growth import remember
from train.data.shards import open_tokens
from train.data.source import TokenSource, open_source
from train.data.staging import stage_tokens
from train.guard import Guard, GuardState
from train.instruments.instruments import Instruments
from train.log import Clock, Log, finite
from train.model.execution import prepare_layers, set_numerics
from train.model.flops import flops_per_token, peak_flop_per_s
from train.model.llama import build_model, count_parameters
from train.node_check.history import log_node_check
from train.opening import Opening
from train.optimizer import learning_rate, make_optimizer
from train.parallel.stop import STOP_REQUEST
from train.parallel.strategy import make_strategy
from train.parallel.world import run_world, start_world
from train.preflight import check_device, check_disk
from train.restart.attempt import attempt_folder
from train.restart.lock import lock_folder
from train.restart.watchdog import WATCHDOG
from train.validation import validate_model, validation_sets

PERF_EVERY_STEPS = 10  # the throughput of a single step is too noisy


def main() -> int:
    """Train until the end or until a request to stop; return the exit code."""
    with contextlib.ExitStack() as held:  # releases the lock on the run's folder
        return train(parse_arguments(), held)


def train(arguments: argparse.Namespace, held: contextlib.ExitStack) -> int:
    """As `main`. `held` collects what must be released at the end.

    Raises UserError for whatever the user can correct: configuration, tokens, checkpoints, device, disk, a
    folder that another run holds, and too many faulty steps.
    """
    overrides = parse_overrides(arguments.overrides)
    run = load_run(arguments.run, arguments.scale, arguments.seed, overrides)
    recipe = run.recipe
    if arguments.print_config:
        print(explain(arguments.run, arguments.scale, arguments.seed, overrides))
        print(f"computed.params_total: {count_parameters(run.model)}  # of the model's shape")
        print(f"computed.warmup_steps: {run.warmup_steps}  # warmup_tokens / tokens of a step")
        print(f"computed.steps_total: {run.steps_total}  # tokens_total / tokens of a step")
        return 0
    folder: Path = arguments.out or default_runs_root() / run.run_id

    # ------------------------------------------------------------ checks, before any work
    data_root: Path = arguments.data or default_data_root(run.scale)
    val_tokens = open_tokens(data_root, recipe.validation_corpus, recipe.tokenizer, "val")
    own_val_tokens = None  # validation papers of the training corpus, if that differs from validation_corpus
    if recipe.corpus != recipe.validation_corpus:
        own_val_tokens = open_tokens(data_root, recipe.corpus, recipe.tokenizer, "val")
    source = open_source(data_root, run, val_tokens)

    def state_at(step: int, guard: GuardState) -> TrainState:
        return TrainState(
            step=step,
            tokens_seen=step * run.tokens_per_step,
            config_sha256=run.sha256(),
            data_fingerprint=source.fingerprint,
            val_fingerprint=val_tokens.fingerprint,
            tokenizer_sha256=source.tokenizer_sha256,
            guard=guard,
            positions=source.positions() if step else (),
        )

    if arguments.resume == "none" and any(folder.glob("log.*.jsonl")):
        raise UserError(
            f"{folder}: holds a run: resume it with --resume auto, or pass another folder as --out"
        )
    world = start_world()
    most = recipe.micro_batch_size
    run = run.fitted_to(world.size)
    recipe, grad_accum_steps = run.recipe, run.grad_accum_steps(world.size)
    torch.manual_seed(recipe.init_seed)  # decides no result, but checkpoints hold generator states
    lock_folder(folder, world, held)
    WATCHDOG.start(attempt_folder(folder))
    if world.is_main:
        remember(folder, val_tokens, *([source.tokens] if isinstance(source, TokenSource) else []))
    resume_from = find_resume(folder, world)
    changes = find_changes(resume_from, state_at(0, GuardState()), run) if resume_from else []
    if changes and not arguments.force:
        raise UserError(
            f"{resume_from}: was trained with {' and '.join(changes)}: restore it, start a new run in "
            f"another folder (--out), or resume despite the change with --force"
        )
    if resume_from and (folder / "DONE").is_file() and step_of(resume_from) >= run.steps_total:
        if world.is_main:
            print(f"{run.run_id}: finished already, not trained again ({folder})")
        return 0
    start = read_state(resume_from) if resume_from else state_at(0, GuardState())
    source.start(run, world, start.step, start.positions)
    check_device(run, world)
    check_disk(run, folder)
    if isinstance(source, TokenSource):
        stage_tokens(source.tokens, os.environ.get("SITE_SCRATCH"))

    # ------------------------------------------------------------ model, optimiser, state
    set_numerics(recipe)
    model = build_model(run.model, recipe.init_seed).to(world.device)
    if recipe.mask_documents:
        model.keep_documents_apart(val_tokens.eod_id)
    model.head_chunk_tokens = recipe.head_chunk_tokens
    prepare_layers(model, recipe)
    params_total = count_parameters(run.model)
    strategy = make_strategy(model, make_optimizer(model, run, world.device), world, run, grad_accum_steps)
    val_sets = {"val": validation_sets(val_tokens, run)}
    if own_val_tokens:
        val_sets["val_own"] = validation_sets(own_val_tokens, run)
    instruments = Instruments(strategy, source.numbered, val_sets["val"], data_root)
    if resume_from:
        load_checkpoint(resume_from, strategy)
    step, guard = start.step, Guard(recipe.spike_sigma, start.guard)

    # ------------------------------------------------------------ log
    if world.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "DONE").unlink(missing_ok=True)  # of a finished run whose last checkpoint was lost
        write_config(folder / "config.yaml", run)
    log = Log(folder, world.is_main, run.tokens_per_step)
    opening = Opening(run, source, strategy, world, params_total)
    log.header(
        run.run_id,
        step,
        recipe.sinks,
        **opening.header(),
        data_fingerprint=source.fingerprint,
        val_fingerprint=val_tokens.fingerprint,
        tokenizer_sha256=source.tokenizer_sha256,
    )
    if log.restart_index:
        log.row("event", step, event="resume")
    log_node_check(folder, log, step)
    if world.is_main:
        opening.tell(most, grad_accum_steps, step, changes)

    # ------------------------------------------------------------ the loop
    flops_per_step = flops_per_token(run.model, recipe.sequence_length) * run.tokens_per_step
    peak = peak_flop_per_s(opening.device_name)
    validate_every = run.steps_of(recipe.validate_every_tokens)
    bar = tqdm(total=run.steps_total, initial=step, desc=run.run_id, unit="step", disable=not world.is_main)
    saver = Saver(folder / "checkpoints", strategy)
    gc.freeze()  # a collection in the middle of a step on one rank would make all others wait
    gc.disable()
    clock = Clock(world.device, strategy.exchange if world.size > 1 else None)
    last_read, stop = step, False
    while step < run.steps_total and not stop:
        step += 1
        WATCHDOG.begin_step(step)

        # Loss sums and target tokens by domain, and whether to stop, travel in one all-reduce a step.
        n_domains = len(source.domains)
        with clock.waiting_for_data():
            n_targets = source.begin_step(step)
        totals = torch.zeros(2 * n_domains + 1, dtype=torch.float64, device=world.device)
        for micro_step in range(grad_accum_steps):
            with clock.waiting_for_data():
                batch = source.next()
            WATCHDOG.doing("computing and exchanging gradients")
            batch = batch.to(world.device)  # on CUDA the copy overlaps with the computation
            last = micro_step == grad_accum_steps - 1
            losses_B = strategy.backward(batch, n_targets, last)
            totals.index_add_(0, batch.domains_B, losses_B.double())
            totals.index_add_(0, batch.domains_B + n_domains, batch.target_counts_B())
        totals[-1] = float(STOP_REQUEST.requested or (world.is_main and (folder / "STOP").exists()))
        WATCHDOG.doing("adding up losses")
        *sums, stop_flag = world.sum(totals).tolist()
        nats, tokens = sums[:n_domains], sums[n_domains:]
        assert sum(tokens) == n_targets
        loss_nats, stop = sum(nats) / n_targets, bool(stop_flag)

        validates = step % validate_every == 0 or step == run.steps_total
        if validates:
            WATCHDOG.pause("measuring gradients")
            with clock.paused():
                instruments.before_update()
        lr = learning_rate(run, step)
        WATCHDOG.doing("updating weights")
        update = strategy.step(lr, functools.partial(guard.judge, loss_nats))
        grad_norm = update.grad_norm
        if update.overflowed:  # of fp16 gradients: the loss scale was too large, no fault of the run
            log.row("event", step, event="overflow", loss_scale=strategy.loss_scale.scale)
        else:
            guard.record(step, loss_nats, grad_norm, update.fault)
        if update.fault:
            kind = "spike" if math.isfinite(loss_nats) and math.isfinite(grad_norm) else "nan"
            log.row("event", step, event=kind, reason=update.fault)
        if world.is_main:
            seen = [i for i, n in enumerate(tokens) if n]
            log.row(
                "train",
                step,
                loss_nats=finite(loss_nats),
                lr=lr,
                grad_norm=finite(grad_norm),
                clipped=recipe.clip_grad_norm is not None and grad_norm > recipe.clip_grad_norm,
                skipped=bool(update.fault) or update.overflowed,
                span_hash=source.span_hash(),
                **{f"loss_nats/{source.domains[i]}": finite(nats[i] / tokens[i]) for i in seen},
                **{f"tokens/{source.domains[i]}": int(tokens[i]) for i in seen},
            )
        if guard.too_many_faults:
            saver.wait()
            black_box = folder / f"blackbox.step_{step}.json"
            if world.is_main:
                tokenizer = data_root / "tokenizers" / recipe.tokenizer
                write_black_box(black_box, step, source, tokenizer, update, guard)
            log.row("event", step, event="gave_up")
            world.barrier()  # torchrun ends all processes when one exits: wait until all is written
            raise fault_error(run, step, update, black_box)
        bar.update()
        if step % PERF_EVERY_STEPS == 0 or step == run.steps_total:
            perf = clock.read(step - last_read, run.tokens_per_step)
            last_read = step
            shown = {"loss": f"{loss_nats:.3f}", "tokens/s": f"{perf['tokens_per_s']:,.0f}"}
            shown["data wait"] = f"{perf['data_wait_s'] / perf['step_s']:.1%}"
            if peak:
                perf["mfu"] = flops_per_step / perf["step_s"] / (peak * world.size)
                shown["MFU"] = f"{perf['mfu']:.1%}"
            log.row("perf", step, **perf)
            bar.set_postfix(shown, refresh=False)

        if validates:
            WATCHDOG.pause("validating")
            with clock.paused():
                for fields in instruments.after_update(step):
                    log.row("instrument", step, **fields)
                for kind, sets in val_sets.items():
                    token_losses = instruments.token_losses if kind == "val" else None
                    for result in validate_model(strategy, sets, token_losses):
                        log.row(kind, step, **result.row())
                        if kind == "val" and step == run.steps_total:
                            for row in result.document_rows():
                                log.row("val_document", step, **row)
                for fields in instruments.after_validation():
                    log.row("instrument", step, **fields)
            gc.collect()
        if run.saves_after(step) or stop:
            WATCHDOG.pause("saving a checkpoint")
            with clock.paused(checkpoint=True):
                saver.save(state_at(step, guard.state))
        log_written(saver, log)
        if recipe.recompute != "none":
            gc.collect()  # recomputation leaves reference cycles; all ranks collect at the same point
    bar.close()
    WATCHDOG.pause("ending")
    saver.wait()
    log_written(saver, log)
    gc.enable()

    # ------------------------------------------------------------ finished, or stopped to be requeued
    finished = step == run.steps_total
    if not finished:
        log.row("event", step, event="preempt")
    log.close()
    if world.is_main:
        if finished:
            (folder / "DONE").write_text(f"{step} steps\n")
        (folder / "STOP").unlink(missing_ok=True)
        outcome = "done" if finished else "stopped"
        print(f"{run.run_id}: {outcome} at step {step} of {run.steps_total} ({folder})")
        if not finished:
            print("  a checkpoint is saved; the same command resumes from here")
    world.barrier()
    return 0 if finished else EXIT_REQUEUE


def log_written(saver: Saver, log: Log) -> None:
    """Log an event for each checkpoint that has reached the disk since the last call."""
    for step in saver.written():
        log.row("event", step, event="checkpoint")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("run", type=Path, help="configs/runs/<run>.yaml")
    parser.add_argument("--scale", default="full", help="a file in configs/scales")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights and data order")
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: $ARXIV_RUNS/<scale>/<run>/seed<k>)")
    parser.add_argument(
        "--resume",
        choices=("auto", "none"),
        default="auto",
        help="auto: from the newest intact checkpoint, if any; none: refuse a folder that holds a run",
    )
    parser.add_argument(
        "--force", action="store_true", help="resume although configuration or data have changed"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print every value with its origin and exit"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="recipe values, used as given; the scale multiplies only the values of run files",
    )
    return parser.parse_intermixed_args()  # allows overrides between options


if __name__ == "__main__":
    run_world(main)
