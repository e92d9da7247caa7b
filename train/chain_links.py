"""The jobs of the whole path, from archives to figures: what each makes and waits for, and which are missing.

Pure functions over the state of folders and of Slurm's queue, which train/chain.py collects.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from configs.loader import UserError
from configs.stages import TABLE, Stage
from train.config import Run
from train.study_plan import needed_tokens


class Link(NamedTuple):
    """One job, or one array of jobs."""

    result: Path  # absolute path of what the job makes; the job carries it as its comment in Slurm
    name: str  # the job's name
    script: str  # in slurm/
    after: tuple[Path, ...]  # results of the links that must have succeeded
    environment: Mapping[str, str]  # beside that of the user
    run: str = ""  # the script's argument
    is_array: bool = False
    on_gpu: bool = False
    trains: bool = False  # takes the user's key=value arguments


class Job(NamedTuple):
    """A job in Slurm's queue."""

    number: str
    state: str  # PENDING, RUNNING, ...
    user: str


class Step(NamedTuple):
    """What to do about a link: nothing (done, queued), or submit it and cancel jobs that wait in vain."""

    link: Link
    action: Literal["done", "queued", "submit"]
    jobs: tuple[Job, ...] = ()  # queued: the jobs that make it; submit: the jobs to cancel first


def make_links(runs: Sequence[Run], data: Path, root: Path, figures: Path) -> list[Link]:
    """All links for the runs, each after those that it waits for.

    `data`: data root, `root`: root of run folders, `figures`: where the figures go; all absolute.
    """
    links: dict[Path, Link] = {}
    for corpus, tokenizer in needed_tokens(runs):
        # Another corpus takes over the validation papers and the tokenizer of main.
        before: tuple[Path, ...] = ()
        if corpus != "main":
            before = (_result(TABLE[-1], "main", "main", data),)
        for stage in TABLE:
            result = _result(stage, corpus, tokenizer, data)
            environment = {"STAGE": stage.name, "VARIANT": corpus, "TOKENIZER": tokenizer}
            in_array = stage.kind in ("shards", "tokens")
            link = Link(result, stage.name, "preprocess.sh", before, environment, is_array=in_array)
            # A tokenizer or a corpus that several sets of tokens share is made once.
            before = (links.setdefault(result, link).result,)
            if stage.kind == "tokenizer":  # the tokens need this corpus as well as the tokenizer
                before += (_result(TABLE[TABLE.index(stage) - 1], corpus, tokenizer, data),)
    for run in runs:
        corpora = dict.fromkeys((run.recipe.corpus, run.recipe.validation_corpus))
        tokens = tuple(_result(TABLE[-1], corpus, run.recipe.tokenizer, data) for corpus in corpora)
        folder = root / run.run_id
        seed, after = {"SEED": str(run.seed)}, (folder,)
        train = Link(folder, run.name, "train_run.sh", tokens, seed, run.name, on_gpu=True, trains=True)
        evaluation = folder / "evaluation.val.jsonl"
        evaluate = Link(evaluation, "evaluate", "evaluate.sh", after, seed, run.name, on_gpu=True)
        export = Link(folder / "hf", "export", "export.sh", after, seed, run.name)
        links |= {link.result: link for link in (train, evaluate, export)}
    folders = tuple(root / run.run_id for run in runs)
    draw = Link(figures, "figures", "figures.sh", folders, {})
    return [*links.values(), draw]


def _result(stage: Stage, corpus: str, tokenizer: str, data: Path) -> Path:
    if stage.kind == "tokenizer":
        return data / "tokenizers" / tokenizer
    if stage.kind == "tokens":
        return data / "tokens" / f"{corpus}-{tokenizer}"
    return data / "corpus" / corpus / stage.name


def is_done(link: Link, tars: Collection[str]) -> bool:
    """Whether the result is complete and no older than what it was made from.

    `tars`: names of the archives without `.tar`; empty if they were deleted after the corpus was made. A
    changed recipe is not noticed here: `bash slurm/preprocess.sh` makes again what it concerns.
    """
    if link.script == "preprocess.sh":
        return _is_stage_done(link, tars)
    if link.script == "train_run.sh":
        return (link.result / "DONE").is_file()
    made = {"export.sh": link.result / "exported_from.json", "evaluate.sh": link.result}.get(link.script)
    files = [made] if made else sorted(link.result.glob("*.png"))
    sources = [folder / "DONE" for folder in link.after]
    if not files or not all(path.is_file() for path in (*files, *sources)):
        return False
    return min(_time(path) for path in files) >= max(_time(path) for path in sources)


def _is_stage_done(link: Link, tars: Collection[str]) -> bool:
    stage = next(stage for stage in TABLE if stage.name == link.name)
    corpus, tokenizer = link.environment["VARIANT"], link.environment["TOKENIZER"]
    data = link.result.parents[2] if stage.kind not in ("tokenizer", "tokens") else link.result.parents[1]
    if stage.kind == "tokenizer":
        return (link.result / "report.json").is_file()
    if stage.kind == "tokens" or corpus != "main":  # a corpus uses its base's files where recipes are equal
        return (data / "tokens" / f"{corpus}-{tokenizer}" / "_DONE.json").is_file()
    if stage.kind == "metadata":  # has one shard a month; the next stage begins only when all are there
        return any((link.result.parent / TABLE[TABLE.index(stage) + 1].name).glob("*.parquet"))
    made = {path.stem for path in link.result.glob("*.parquet")}
    complete = bool(made) and made.issuperset(tars)
    if stage.kind == "corpus":
        return complete and (data / "ledger" / corpus / stage.name / "_DONE.json").is_file()
    return complete


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def parse_queue(squeue: str) -> dict[str, list[Job]]:
    """The active jobs of each result, from `squeue --noheader --format '%F|%T|%u|%k'`.

    Several tasks of an array are one job, which is PENDING only if all of them are.
    """
    jobs: dict[str, dict[str, Job]] = {}
    for line in filter(None, squeue.splitlines()):
        number, state, user, result = line.split("|", 3)
        known = jobs.setdefault(result, {}).get(number)
        if known is None or known.state == "PENDING":
            jobs[result][number] = Job(number, state, user)
    return {result: list(found.values()) for result, found in jobs.items()}


def decide(
    links: Sequence[Link], done: Callable[[Link], bool], queue: Mapping[str, Sequence[Job]]
) -> list[Step]:
    """What to do about each link, in the same order.

    A link whose result is there is made again only if one that it waits for is. Jobs that wait for a job that
    is gone are replaced. Raises UserError if a job already runs whose input is yet to be made.
    """
    steps: dict[Path, Step] = {}
    for link in links:
        jobs = tuple(queue.get(str(link.result), ()))
        before = [steps[result].action for result in link.after]
        if "submit" in before:
            if running := [job for job in jobs if job.state != "PENDING"]:
                raise UserError(
                    f"{link.result}: job {running[0].number} of {running[0].user} ({link.name}) makes it, "
                    f"but what it needs is missing or about to be made again: wait for it, or end it "
                    f"(scancel {running[0].number}), then give the same command again"
                )
            steps[link.result] = Step(link, "submit", jobs)
        elif jobs:
            steps[link.result] = Step(link, "queued", jobs)
        elif "queued" in before or not done(link):
            steps[link.result] = Step(link, "submit")
        else:
            steps[link.result] = Step(link, "done")
    return list(steps.values())
