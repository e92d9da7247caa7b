"""A seeded share of the metadata: nested, stable, with all lines of a paper."""

import json
from pathlib import Path

from tests.conftest import run_script

IDS = [f"0704.{i:04}" for i in range(1, 1001)]


def sample(folder: Path, share: float, seed: int = 0) -> list[str]:
    """The ids of the lines of a share, in their order."""
    snapshot, out = folder / "snapshot.json", folder / "out.json"
    if not snapshot.is_file():
        lines = [json.dumps({"id": paper_id, "title": "T"}) for paper_id in (*IDS, IDS[0])]
        snapshot.write_text("\n".join([*lines, '{"id": 3', "no JSON"]) + "\n")
    run_script(
        *("preprocess/sample_metadata.py", "--metadata", snapshot, "--out", out),
        *("--share", share, "--seed", seed),
    )
    return [json.loads(line)["id"] for line in out.read_text().splitlines()]


def test_shares_are_nested_and_seeds_differ(tmp_path: Path) -> None:
    tenth, half, whole = (sample(tmp_path, share) for share in (0.1, 0.5, 1))
    assert whole == [*IDS, IDS[0]]
    assert 60 < len(tenth) < 140
    assert set(tenth) < set(half)
    assert half == [paper_id for paper_id in whole if paper_id in set(half)]
    assert sample(tmp_path, 0.1) == tenth
    assert not set(sample(tmp_path, 0.1, seed=1)) <= set(half)


def test_wrong_shares_and_empty_ones_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"id": "0704.0001"}\n')
    command = [
        "preprocess/sample_metadata.py",
        "--metadata",
        tmp_path / "s.json",
        "--out",
        tmp_path / "o.json",
    ]
    for share, says in (("0", "above 0"), ("1e-9", "holds no paper")):
        failed = run_script(*command, "--share", share, check=False)
        assert failed.returncode == 2
        assert says in failed.stderr
    assert not (tmp_path / "o.json").exists()
