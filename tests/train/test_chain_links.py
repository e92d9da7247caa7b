"""Which jobs of the chain are submitted, for states of the folders and of the queue."""

from pathlib import Path

import pytest

from configs.loader import CONFIGS, UserError
from configs.stages import TABLE
from train.chain_links import Job, Link, decide, make_links, parse_queue
from train.config import load_run

DATA, ROOT, FIGURES = Path("/data"), Path("/runs"), Path("/figures")


def links_of(*names: str) -> list[Link]:
    runs = [load_run(CONFIGS / "runs" / f"{name}.yaml", "demo") for name in names]
    return make_links(runs, DATA, ROOT, FIGURES)


CHAIN = links_of("run20")
NAMES = [link.name for link in CHAIN]


def actions(done: set[str], **queued: str) -> dict[str, str]:
    """The action of each link. `done`: names of links with a result; `queued`: states of jobs by name."""
    queue = {str(x.result): [Job("7", queued[x.name], "ada")] for x in CHAIN if x.name in queued}
    return {step.link.name: step.action for step in decide(CHAIN, lambda link: link.name in done, queue)}


def test_every_link_comes_after_what_it_waits_for() -> None:
    links = links_of("run20", "run07", "run22")
    seen: set[Path] = set()
    for link in links:
        assert seen.issuperset(link.after), link
        assert link.result not in seen
        seen.add(link.result)
    corpora = {link.environment["VARIANT"] for link in links if link.name == "split_corpus"}
    assert corpora == {"main", "run22"}
    assert sum(link.name == "train_tokenizer" for link in links) == 2  # main and run07
    assert {link.name for link in links if link.on_gpu} == {"run20", "run07", "run22", "evaluate"}


@pytest.mark.parametrize("n_done", [0, 3, len(TABLE), len(NAMES)])
def test_all_after_the_first_missing_result_is_submitted(n_done: int) -> None:
    expected = ["done"] * n_done + ["submit"] * (len(NAMES) - n_done)
    assert list(actions(set(NAMES[:n_done])).values()) == expected


def test_a_result_is_made_again_if_its_input_is() -> None:
    found = actions(set(NAMES) - {"deduplicate"})
    assert found["filter_quality"] == "done"
    assert {found[name] for name in NAMES[NAMES.index("deduplicate") :]} == {"submit"}


def test_a_lost_export_is_all_that_is_made() -> None:
    found = actions(set(NAMES) - {"export"})
    assert [name for name, action in found.items() if action != "done"] == ["export"]


def test_queued_jobs_are_waited_for() -> None:
    done = set(NAMES[: len(TABLE)])
    found = actions(done, run20="RUNNING", export="PENDING")
    assert (found["run20"], found["export"]) == ("queued", "queued")
    assert (found["evaluate"], found["figures"]) == ("submit", "submit")


def test_a_result_is_made_again_if_its_input_is_being_made() -> None:
    found = actions(set(NAMES), split_corpus="RUNNING")
    assert found["deduplicate"] == "done"
    assert found["split_corpus"] == "queued"
    assert {found[name] for name in NAMES[NAMES.index("split_corpus") + 1 :]} == {"submit"}


def test_a_job_that_waits_for_one_that_is_gone_is_replaced() -> None:
    queue = {str(CHAIN[4].result): [Job("7", "PENDING", "ada")]}
    step = decide(CHAIN, lambda _: False, queue)[4]
    assert (step.action, [job.number for job in step.jobs]) == ("submit", ["7"])


def test_a_running_job_without_its_input_is_named() -> None:
    with pytest.raises(UserError, match=r"job 7 of ada \(run20\) makes it, but .*\(scancel 7\)"):
        actions(set(), run20="RUNNING")


def test_tasks_of_an_array_are_one_job() -> None:
    shown = "12|COMPLETING|ada|/a b|c\n12|RUNNING|ada|/a b|c\n12|PENDING|ada|/a b|c\n9|PENDING|bob|\n"
    queue = parse_queue(shown)
    assert [job.number for job in queue["/a b|c"]] == ["12"]
    assert queue["/a b|c"][0].state != "PENDING"
