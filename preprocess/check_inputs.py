"""Check what preprocessing is given, before hours of work begin: metadata, archives, manifest, recipe.

    python preprocess/check_inputs.py --src /scratch/arxiv/src --metadata snapshot.json --data data

In:  the arguments of the stages. Out: nothing, or one sentence that says what is wrong and exit code 2.
The check takes a second: the metadata are opened at both ends, tars are not opened (validate_archives does).
`make preprocess` and slurm/preprocess.sh run it first.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, format_bytes, run_main
from preprocess.pipeline.job import arguments, parse
from preprocess.pipeline.snapshot import check_snapshot
from preprocess.pipeline.stage import require_bases
from preprocess.validate_archives import find_archives


def main() -> None:
    """Run the checks."""
    job = parse(arguments(__doc__ or "", "check_inputs", Config), "check_inputs")
    require_bases(job)
    check_snapshot(job.metadata)
    tars, manifest = find_archives(job.src)
    n_listed = sum(path.name in manifest for path in tars)
    n_bytes = format_bytes(job.metadata.stat().st_size)
    print(f"check_inputs: {len(tars)} tars ({n_listed} in the manifest), metadata of {n_bytes}")


if __name__ == "__main__":
    run_main(main)
