"""A clone draws its figures from the published logs with numpy, pandas and matplotlib alone."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What `pip install numpy pandas matplotlib` installs: import names of the three and of what they require.
PACKAGES = (
    *("numpy", "numpy.libs", "pandas", "pandas.libs", "matplotlib", "matplotlib.libs", "mpl_toolkits"),
    *("contourpy", "cycler", "fontTools", "kiwisolver", "packaging", "PIL", "pillow.libs", "pyparsing"),
    *("dateutil", "six.py"),
)


@pytest.fixture(scope="module")
def light_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment that holds these packages and no other."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in PACKAGES:
        source = Path(sysconfig.get_path("purelib"), name)
        if source.exists():
            (site / name).symlink_to(source)
    return folder / "bin" / "python"


def test_a_python_with_three_packages_draws_all_figures(light_python: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for name in ("yaml", "pydantic", "pyarrow", "torch"):
        absent = subprocess.run([light_python, "-c", f"import {name}"], env=environment, capture_output=True)
        assert absent.returncode, name
    drawn = subprocess.run(
        [
            light_python,
            ROOT / "analysis/plot_runs.py",
            "--scale",
            "mini",
            "--logs",
            "logs",
            "--out",
            tmp_path,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert drawn.returncode == 0, drawn.stderr
    assert len(list(tmp_path.glob("fig[1-7]_*.png"))) == 7
