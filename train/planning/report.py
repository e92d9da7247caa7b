"""The plan of a run in words and tables: what it needs, whether it fits, and what would make it fit."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

from configs.loader import UserError, format_bytes
from train.config import Recipe, Run
from train.model.flops import flops_per_token
from train.model.llama import count_parameters
from train.optimizer import why_refused
from train.planning.devices import DEVICES, Device
from train.planning.disk import disk_bytes
from train.planning.hours import OVERHEAD, energy_kwh, gpu_hours, total_flops, walltime_slots
from train.planning.memory import KEPT, Memory, plan_memory

MFUS = (0.3, 0.4, 0.5)
COUNTS = (1, 2, 4, 8)
MOST_GPUS = 64  # up to which a number is looked for that makes a run fit
SHORT_CHUNK = 256  # tokens of the head at a time that cost little memory


class Prices(NamedTuple):
    """What the command line can say instead of the defaults."""

    watts: float
    dollars_per_hour: float
    slot_hours: float


def describe(run: Run, device: Device, gpus: int, prices: Prices) -> str:
    """The whole report."""
    return "\n".join(
        line
        for part in (
            _opening(run, device, gpus),
            _memory(run, device, gpus),
            _choices(run, device, gpus),
            _time(run, device, gpus, prices),
            _disk(run),
            _devices(run),
        )
        for line in (*part, "")
    ).rstrip()


def fits(run: Run, device: Device, gpus: int) -> bool:
    """Whether tensors and reserve fit into the device's memory."""
    memory = plan_memory(run, gpus)
    return memory.peak + memory.reserve <= device.memory_bytes


def largest_micro_batch(run: Run, device: Device, gpus: int) -> int:
    """The largest number of sequences at a time that fits and divides a device's share; 0 if none fits."""
    share = run.recipe.global_batch_size // gpus
    dividing = (size for size in range(share, 0, -1) if share % size == 0)
    sizes = (size for size in dividing if fits(run.with_recipe(micro_batch_size=size), device, gpus))
    return next(sizes, 0)


class Change(NamedTuple):
    """Other recipe values on a number of GPUs."""

    gpus: int
    values: dict[str, Any]

    def words(self, gpus: int) -> str:
        """The change as a user would type it, for a run that was planned on `gpus`."""
        values = " ".join(f"{key}={value}" for key, value in self.values.items())
        number = f"{self.gpus} GPUs" if self.gpus != gpus else ""
        return " with ".join(filter(None, (number, values)))

    def makes_fit(self, run: Run, device: Device) -> bool:
        """Whether the run fits with it."""
        return fits(run.with_recipe(**self.values).fitted_to(self.gpus), device, self.gpus)


def find_changes(run: Run, device: Device, gpus: int) -> list[Change]:
    """Single changes, each of which makes a run fit that does not; those that cost the least time come first.

    Where no single one is enough, all together on the fewest GPUs; where that is not enough either, none.
    """
    recipe = run.recipe
    values: list[dict[str, Any]] = []
    if (micro := largest_micro_batch(run, device, gpus)) and micro < recipe.micro_batch_size:
        values.append({"micro_batch_size": micro})
    values.append({"head_chunk_tokens": SHORT_CHUNK})
    if gpus > 1:
        others = [other for other in ("zero2", "fsdp") if not why_refused(recipe, other)]
        values += [{"strategy": other} for other in others if other != recipe.strategy]
    values += [{"recompute": mode} for mode in KEPT if mode not in ("none", recipe.recompute)]
    numbers = [n for n in range(gpus, MOST_GPUS + 1) if recipe.global_batch_size % n == 0]
    single = [Change(gpus, change) for change in values]
    single += [Change(number, {}) for number in numbers[1:]]
    found = [change for change in single if change.makes_fit(run, device)]
    more = [change for change in found if change.gpus > gpus]
    found = [change for change in found if change.gpus == gpus] + more[:1]
    if found:
        return found
    together = {"micro_batch_size": 1, "head_chunk_tokens": SHORT_CHUNK, "recompute": "full"}
    all_changes = (
        Change(number, together | ({"strategy": "fsdp"} if number > 1 else {})) for number in numbers
    )
    return [change for change in all_changes if change.makes_fit(run, device)][:1]


def _opening(run: Run, device: Device, gpus: int) -> Iterator[str]:
    recipe = run.recipe
    per_token = flops_per_token(run.model, recipe.sequence_length)
    yield f"{run.run_id}: {recipe.title}"
    yield (
        f"{count_parameters(run.model):,} parameters, {recipe.precision}, "
        f"{recipe.strategy if gpus > 1 else 'one process'} on {gpus} x {device.name}"
    )
    yield (
        f"{run.steps_total:,} steps of {run.tokens_per_step:,} tokens: {gpus} GPUs x "
        f"{recipe.micro_batch_size} sequences x {run.grad_accum_steps(gpus)} accumulation steps"
    )
    yield (
        f"{run.steps_total * run.tokens_per_step / 1e9:,.2f} B tokens of {per_token / 1e9:.2f} GFLOP: "
        f"{total_flops(run):.3g} FLOP"
    )


def _memory(run: Run, device: Device, gpus: int) -> Iterator[str]:
    memory = plan_memory(run, gpus)
    yield "memory of a GPU (GB)              computing  updating"
    update = {"copies, buckets": memory.update} if memory.update else {}
    transient = {
        "activations": memory.activations,
        "head, or backward pass": max(memory.head, memory.backward),
    }
    if memory.exchange:
        transient["exchange buckets"] = memory.exchange
    for name, size in memory.held.items():
        yield f"  {name:<31} {size / 1e9:9.1f} {size / 1e9:9.1f}"
    for name, size in transient.items():
        yield f"  {name:<31} {size / 1e9:9.1f}"
    for name, size in update.items():
        yield f"  {name:<31} {'':9} {size / 1e9:9.1f}"
    held = sum(memory.held.values())
    yield f"  {'tensors':<31} {memory.computing / 1e9:9.1f} {(held + memory.update) / 1e9:9.1f}"
    yield f"  {'CUDA context, gaps (assumed)':<31} {memory.reserve / 1e9:9.1f}"
    yield f"  {_verdict(memory, device)}"
    if not fits(run, device, gpus):
        ways = [change.words(gpus) for change in find_changes(run, device, gpus)]
        yield f"  what makes it fit: {'; or '.join(ways) or f'nothing on up to {MOST_GPUS} of these GPUs'}"


def _verdict(memory: Memory, device: Device) -> str:
    left = device.memory_bytes - memory.peak - memory.reserve
    there = f"of {device.memory_bytes / 1e9:.1f} GB"
    return (
        f"fits: {left / 1e9:.1f} {there} are left"
        if left >= 0
        else f"does not fit: {-left / 1e9:.1f} GB too many {there}"
    )


def _choices(run: Run, device: Device, gpus: int) -> Iterator[str]:
    size = run.recipe.micro_batch_size
    yield f"peak in tensors at micro-batch {size} (GB), and the largest micro-batch that fits"
    yield f"  {'':<12}" + "".join(f"{'recompute=' + mode:>24}" for mode in KEPT)
    for strategy in _strategies(run, gpus):
        cells = []
        for mode in KEPT:
            other = run.with_recipe(strategy=strategy, recompute=mode)
            most = largest_micro_batch(other, device, gpus)
            peak = plan_memory(other, gpus).peak / 1e9
            cells.append(f"{peak:.1f}, {most}" if most else f"{peak:.1f}, none fits")
        yield f"  {strategy if gpus > 1 else 'one process':<12}" + "".join(f"{cell:>24}" for cell in cells)
    yield "  full repeats the forward pass: a third more FLOPs; compile=true keeps less than the table says"


def _strategies(run: Run, gpus: int) -> Sequence[str]:
    """Every strategy that takes the recipe's optimiser; a single process needs none."""
    known = get_args(Recipe.model_fields["strategy"].annotation)
    return [name for name in known if not why_refused(run.recipe, name)] if gpus > 1 else ["ddp"]


def _time(run: Run, device: Device, gpus: int, prices: Prices) -> Iterator[str]:
    slot = f"jobs of {prices.slot_hours:g} h"
    yield f"{'time':<9}{'days':>9}{'GPU hours':>11}{slot:>15}{'kWh':>9}{'dollars':>10}"
    for mfu in MFUS:
        hours = gpu_hours(run, device, gpus, mfu)
        kwh, dollars = energy_kwh(hours, gpus, prices.watts), hours * gpus * prices.dollars_per_hour
        jobs = walltime_slots(hours, prices.slot_hours)
        money = f"{kwh:>9,.0f}{dollars:>10,.0f}"
        yield f"  MFU {mfu:.0%}{hours / 24:>9.1f}{hours * gpus:>11,.0f}{jobs:>15,}{money}"
    tera = device.flop_per_s / 1e12
    yield f"  a GPU: {tera:.0f} TFLOP/s; {prices.dollars_per_hour:.2f} dollars an hour (a guess, see --price)"
    yield f"  and {prices.watts:g} W, times {OVERHEAD:g} for the rest of the machine and cooling"


def _disk(run: Run) -> Iterator[str]:
    parts = disk_bytes(run)
    yield "disk"
    for name, size in parts.items():
        yield f"  {name:<22} {format_bytes(size):>10}"
    yield f"  {'together':<22} {format_bytes(sum(parts.values())):>10}"


def _devices(run: Run) -> Iterator[str]:
    yield f"days at MFU {MFUS[1]:.0%} and largest micro-batch, by device and number ({run.recipe.strategy})"
    counts = [n for n in COUNTS if run.recipe.global_batch_size % n == 0]
    yield f"  {'':<12}" + "".join(f"{n:>16}" for n in counts)
    for name, device in DEVICES.items():
        cells = []
        for n in counts:
            days = gpu_hours(run, device, n, MFUS[1]) / 24
            most = largest_micro_batch(run, device, n)
            cells.append(f"{days:.1f}, {most}" if most else "none fits")
        yield f"  {name:<12}" + "".join(f"{cell:>16}" for cell in cells)


def find_device(name: str) -> Device:
    """The device of a short name. Raises UserError with all names."""
    if name not in DEVICES:
        raise UserError(f"--device {name}: is unknown; known: {', '.join(DEVICES)}")
    return DEVICES[name]
