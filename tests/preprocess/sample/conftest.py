"""One sample for all tests of this folder."""

import csv
import io

import pytest

from preprocess.sample_corpus import Sample, make_sample
from tests.support.sample import N_PAPERS


@pytest.fixture(scope="session")
def sample() -> Sample:
    return make_sample(seed=0, n_papers=N_PAPERS)


@pytest.fixture(scope="session")
def items(sample: Sample) -> dict[str, bytes]:
    """Stored bytes by id."""
    return {s.record.id: s.data for s in sample.submissions}


@pytest.fixture(scope="session")
def planted(sample: Sample) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sample.files["planted.tsv"].decode()), delimiter="\t"))
