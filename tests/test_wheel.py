"""The built wheel works away from the checkout, with the defaults that ship in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_rooms_and_data_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "apps",
        "data",
        "facility",
        "scheduler",
        "twin",
    }
    assert "data/site.toml" in names
    assert any(name.startswith("facility/profiles/") and name.endswith(".toml") for name in names)


def test_the_wheel_runs_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment that borrows this one's dependencies, but not the checkout."""
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(target)
    code = f"""
import sys
sys.path[:0] = [{str(target)!r}]
import facility.profile, facility.site
print(facility.site.__file__, facility.site.load_site().hall.gpus, facility.profile.load_profile("janitza-umg").name)
"""
    command = [sys.executable, "-S", "-c", code]
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": packages, "PATH": ""}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert done.stdout.split() == [str(target / "facility" / "site" / "__init__.py"), "64", "janitza-umg"]
