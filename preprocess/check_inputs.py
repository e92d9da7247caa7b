"""Check the inputs of preprocessing before hours of work begin: metadata, archives, manifest and recipe.

    python preprocess/check_inputs.py --src /scratch/arxiv/src --metadata snapshot.json --data data

In:  the same arguments as the stages.
Out: a summary line; or one sentence that says what is wrong, and exit code 2.
`make preprocess` and slurm/preprocess.sh run this check first. It takes a second: it reads the beginning and
the end of the metadata and leaves the content of the tars to validate_archives.
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
