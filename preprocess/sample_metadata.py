"""Write a seeded share of a metadata snapshot: a corpus made with it holds these papers alone.

    python preprocess/sample_metadata.py --metadata snapshot.json --share 0.01 --out sample.json

A paper belongs to the share if the hash of its id and the seed is small enough. The choice depends on
nothing else: a larger share contains a smaller one, and a newer snapshot keeps the papers of an older one.
All lines of a paper stay together. Lines that cannot be read are left out.
"""

import argparse
import sys
from pathlib import Path

import msgspec
import xxhash

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, run_main, writing
from preprocess.pipeline.shard import temporary_beside
from preprocess.pipeline.snapshot import check_snapshot, read_lines


class _Line(msgspec.Struct):
    id: str


def is_in_share(paper_id: str, share: float, seed: int) -> bool:
    """Whether a paper belongs to the share (0 to 1) of a seed."""
    return xxhash.xxh3_64_intdigest(paper_id.encode(), seed=seed) < share * 2**64


def main() -> None:
    """Write the share. Raises UserError if it holds no paper."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--metadata", type=Path, required=True, help="the snapshot")
    parser.add_argument("--share", type=float, required=True, help="of the papers, between 0 and 1")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    args = parser.parse_args()
    if not 0 < args.share <= 1:
        raise UserError(f"--share {args.share}: above 0 and at most 1")
    check_snapshot(args.metadata)
    decoder, n_lines, n_kept = msgspec.json.Decoder(_Line), 0, 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(args.out)
    with writing(args.out), args.metadata.open("rb") as snapshot, temporary.open("wb") as out:
        for line, _ in read_lines(snapshot):
            n_lines += 1
            try:
                paper_id = decoder.decode(line).id
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if is_in_share(paper_id, args.share, args.seed):
                n_kept += 1
                out.write(line)
    if not n_kept:
        temporary.unlink()
        raise UserError(f"{args.metadata}: a share of {args.share} of {n_lines:,} lines holds no paper")
    temporary.replace(args.out)
    print(
        f"sample_metadata: {n_kept:,} of {n_lines:,} lines (share {args.share}, seed {args.seed}): {args.out}"
    )


if __name__ == "__main__":
    run_main(main)
