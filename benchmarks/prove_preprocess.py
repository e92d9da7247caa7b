"""Kill preprocessing at random moments, resume it, and compare every byte: part one of `make prove-resume`.

    python -m benchmarks.prove_preprocess --kills 50 --papers 320

All stages run once on the built-in sample without a kill. Then they run again in the same folder: their
process group gets SIGKILL after a random time, and they are started again, until they finish. The output must
then hold the same files with the same bytes. This repeats until the given number of kills is reached. The
script prints which stages the kills hit, and exits with 1 if a single byte differs.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import xxhash

from configs.stages import CORPUS_STAGES, TOKEN_STAGES

ROOT = Path(__file__).resolve().parent.parent
# `$0` is a file that names the stage that is running.
ALL_STAGES = 'for stage in $STAGES; do echo $stage > "$0"; "$PYTHON" preprocess/$stage.py "$@" || exit; done'


class Preprocessing:
    """One attempt to run all stages, in a new process group."""

    def __init__(self, data: Path, stages: tuple[str, ...], workers: int) -> None:
        self.current, self.log = data.with_name("stage"), data.with_name("log")
        flags = ("--data", str(data), "--scale", "demo", "--workers", str(workers))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", ALL_STAGES, str(self.current), *flags],
                cwd=ROOT,
                env=os.environ | {"STAGES": " ".join(stages), "PYTHON": sys.executable},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finishes_within(self, seconds: float | None) -> bool:
        """Whether all stages finish within a time; None waits for ever. Raises RuntimeError if one fails."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code:
            raise RuntimeError(f"preprocessing ended with {code}:\n{self.log.read_text()[-4000:]}")
        return True

    def kill(self) -> str:
        """Send SIGKILL to the whole group, including workers; return the stage that was running."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return self.current.read_text().strip() if self.current.exists() else "start"


def tree(folder: Path) -> dict[str, str]:
    """Hash of each file below a folder, without the raw archives."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: xxhash.xxh3_128_hexdigest(path.read_bytes())
        for name, path in names.items()
        if not name.startswith("raw/")
    }


def differences(one: dict[str, str], two: dict[str, str]) -> list[str]:
    """Files that only one tree has, or whose hashes differ."""
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def clear(data: Path) -> None:
    """Delete everything except the raw archives."""
    for folder in data.iterdir():
        if folder.name != "raw":
            shutil.rmtree(folder)


def main() -> int:
    """Run without a kill, then with kills, and compare; return the exit code."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--kills", type=int, default=50, help="default %(default)s")
    parser.add_argument("--papers", type=int, default=320, help="papers in the sample (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each stage (default %(default)s)")
    parser.add_argument("--corpus-only", action="store_true", help="leave out tokenizer and token shards")
    args = parser.parse_args()
    stages = CORPUS_STAGES if args.corpus_only else (*CORPUS_STAGES, *TOKEN_STAGES)
    rng, hits, n_compared = random.Random(args.seed), Counter[str](), 0

    with tempfile.TemporaryDirectory(prefix="prove-preprocess-") as temporary:
        data = Path(temporary) / "data"
        sample = ("preprocess/sample_corpus.py", "--out", str(data / "raw"), "--papers", str(args.papers))
        subprocess.run([sys.executable, *sample], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        start = time.monotonic()
        Preprocessing(data, stages, args.workers).finishes_within(None)
        whole_s = time.monotonic() - start
        expected = tree(data)
        print(f"without a kill: {len(expected)} files in {whole_s:.0f} s", flush=True)

        clear(data)
        while True:
            attempt = Preprocessing(data, stages, args.workers)
            if not attempt.finishes_within(rng.uniform(0, whole_s) if hits.total() < args.kills else None):
                hits[attempt.kill()] += 1
                continue
            if wrong := differences(expected, tree(data)):
                print(
                    f"FAILED after {hits.total()} kills: {len(wrong)} files differ: {', '.join(wrong[:10])}"
                )
                return 1
            n_compared += 1
            if hits.total() >= args.kills:
                break
            clear(data)
    where = ", ".join(f"{stage} {hits[stage]}" for stage in ("start", *stages) if hits[stage])
    print(f"{hits.total()} kills ({where}); {n_compared} times all {len(expected)} files as without a kill")
    return 0


if __name__ == "__main__":
    sys.exit(main())
