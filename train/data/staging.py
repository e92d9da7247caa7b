"""Copies of token shards on the node's own disk, made in the background while training already reads.

SITE_SCRATCH (slurm/site.sh) names a folder on the node's disk. Training starts with the shards on the shared
file system, and reads each shard from its copy as soon as that is complete. The bytes are the same, so are
the batches.

The copies lie in SITE_SCRATCH/arxiv-tokens-<user id>-<fingerprint of the tokens>/<domain>/<shard>.bin. A name
that is there is complete, because a copy is written under another name first. Of all processes on a node,
those of other jobs included, the one that holds the lock copies; the kernel gives the lock to the next when
it dies. Folders of other tokens that no process uses are removed.
"""

import fcntl
import os
import shutil
import threading
import time
from pathlib import Path

from configs.loader import UserError, format_bytes
from train.data.shards import DomainTokens, TokenSet

POLL_S = 2.0  # how often a process looks for what another one has copied
KEEP_FREE = 0.05  # share of the disk that copies leave to others
Missing = list[tuple[DomainTokens, int, Path]]  # (stream, number of the shard in it, its copy)


def stage_tokens(tokens: TokenSet, scratch: str | None) -> None:
    """Start to copy the shards to `scratch` in a thread that ends with the process; None or "": do nothing.

    Without a usable scratch, training goes on with the shared files, after one sentence.
    """
    if scratch:
        thread = threading.Thread(target=_stage, args=(tokens, Path(scratch)), name="staging", daemon=True)
        thread.start()


def _stage(tokens: TokenSet, scratch: Path) -> None:
    try:
        LocalCopies(tokens, scratch).complete()
    except (OSError, UserError) as error:
        print(f"tokens are read from {tokens.folder}: no copies in {scratch}: {error}", flush=True)


class LocalCopies:
    """The copies of one set of tokens on this node."""

    def __init__(self, tokens: TokenSet, scratch: Path) -> None:
        """Make the folder and remove those that are out of use.

        Raises OSError, and UserError if other users could write to the folder.
        """
        self.tokens = tokens
        mine = f"arxiv-tokens-{os.getuid()}-"
        self.folder = scratch / f"{mine}{tokens.fingerprint[:32]}"
        for folder in scratch.glob(f"{mine}*"):
            if folder != self.folder:
                _remove_unused(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.folder.lstat()
        if self.folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise UserError(f"{self.folder}: others could write to it: remove it")
        self._in_use = os.open(self.folder / ".in_use", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._in_use, fcntl.LOCK_SH)  # until the process ends
        self.missing: Missing = [
            (stream, number, self.folder / name / f"{shard.name}.bin")
            for name, stream in tokens.domains.items()
            for number, shard in enumerate(stream.shards)
        ]

    def complete(self) -> None:
        """Copy what no other process copies, and read from every complete copy. Raises OSError."""
        while self.adopt():
            lock = os.open(self.folder / ".copying", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_S)
            else:
                self._copy_all()
                return
            finally:
                os.close(lock)

    def adopt(self) -> bool:
        """Read from the copies that are complete; return whether some are not."""
        self.missing = [entry for entry in self.missing if not _adopt(*entry)]
        return bool(self.missing)

    def copy_next(self) -> bool:
        """Copy one missing shard and read from it; False if the disk has no room for it. Raises OSError."""
        stream, number, copy = self.missing[0]
        source = stream.bin_path(number)
        disk = shutil.disk_usage(self.folder)
        if disk.free - source.stat().st_size < KEEP_FREE * disk.total:
            return False
        copy.parent.mkdir(exist_ok=True)
        partial = copy.with_name(f".{copy.name}.partial")
        shutil.copyfile(source, partial)
        with partial.open("rb") as file:
            os.fsync(file)  # or the name could outlive its content when the node loses power
        partial.rename(copy)
        self.adopt()
        return True

    def _copy_all(self) -> None:
        while self.adopt():
            if not self.copy_next():
                print(
                    f"tokens: {self.folder} is nearly full; {len(self.missing)} shards without a copy there "
                    f"are read from {self.tokens.folder}",
                    flush=True,
                )
                return
        size = sum(path.stat().st_size for path in self.folder.glob("*/*.bin"))
        print(f"tokens: all are read from their copies in {self.folder}, {format_bytes(size)}", flush=True)


def _adopt(stream: DomainTokens, number: int, copy: Path) -> bool:
    try:
        complete = copy.stat().st_size == stream.bin_path(number).stat().st_size
    except OSError:
        return False
    if complete:
        stream.read_from_copy(number, copy)
    return complete


def _remove_unused(folder: Path) -> None:
    try:
        lock = os.open(folder / ".in_use", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # a job reads from it
    finally:
        os.close(lock)
