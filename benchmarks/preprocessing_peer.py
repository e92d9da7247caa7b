"""Time one cleaner from PyPI on papers in folders; preprocessing.py runs this in .venv-bench.

    .venv-bench/bin/python benchmarks/preprocessing_peer.py PEER < folders.json > results.json

PEER is a key of PEERS.
In:  a JSON list of folders, one for each paper.
Out: {"version": …, "results": [[CPU seconds, reason of failure or ""], …]}, in the order of the folders.
"""

import io
import json
import logging
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path

TIMEOUT_S = 20  # for one paper; the slowest peer usually cleans 30 MB in that time


def arxiv_latex_cleaner() -> Callable[[str], object]:
    """arxiv-latex-cleaner with its defaults: removes comments and unused files, expands and joins nothing."""
    from arxiv_latex_cleaner.arxiv_latex_cleaner import run_arxiv_cleaner

    defaults = {
        "keep_bib": False,
        "commands_to_delete": [],
        "commands_only_to_delete": [],
        "resize_images": False,
    }
    defaults |= {"environments_to_delete": [], "if_exceptions": [], "use_external_tikz": None}
    defaults |= {
        "svg_inkscape": None,
        "compress_pdf": False,
        "convert_png_to_jpg": False,
        "images_allowlist": {},
    }
    defaults |= {"im_size": 500, "pdf_im_resolution": 500, "png_quality": 50, "png_size_threshold": 0.5}
    return lambda folder: run_arxiv_cleaner({"input_folder": folder, **defaults})


def arxiv_to_prompt(expand_macros: bool) -> Callable[[str], object]:
    """arxiv-to-prompt: joins files and removes comments, with or without its macro expansion."""
    from arxiv_to_prompt import process_latex_source

    def process(folder: str) -> None:
        if not process_latex_source(
            local_folder=folder, keep_comments=False, expand_macros_flag=expand_macros
        ):
            raise ValueError("no text")

    return process


PEERS: dict[str, tuple[str, Callable[[], Callable[[str], object]]]] = {
    "arxiv-latex-cleaner": ("arxiv-latex-cleaner", arxiv_latex_cleaner),
    "arxiv-to-prompt": ("arxiv-to-prompt", lambda: arxiv_to_prompt(expand_macros=False)),
    "arxiv-to-prompt, macros": ("arxiv-to-prompt", lambda: arxiv_to_prompt(expand_macros=True)),
}


def main() -> None:
    """Time one peer on each folder."""
    package, load = PEERS[sys.argv[1]]
    clean = load()
    logging.disable()
    signal.signal(signal.SIGALRM, _out_of_time)
    results = []
    for folder in json.load(sys.stdin):
        failure, start = "", time.process_time()
        signal.alarm(TIMEOUT_S)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                clean(folder)
        except Exception as error:  # any exception counts as the peer's failure on this paper
            failure = type(error).__name__
        signal.alarm(0)
        results.append((time.process_time() - start, failure))
        shutil.rmtree(Path(f"{folder}_arXiv"), ignore_errors=True)  # where arxiv-latex-cleaner writes
    print(json.dumps({"version": version(package), "results": results}))


def _out_of_time(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # turns a macro bomb into a MemoryError
    main()
