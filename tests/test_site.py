"""Site files: the shipped ones load, and a mistake is named with file, key and what was expected."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pytest

from facility.errors import ConfigError
from facility.site import load_site, resolve_secret


def _shipped() -> str:
    return (files("data") / "site.toml").read_text(encoding="utf-8")


def _load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    load_site(path)


@pytest.mark.parametrize("name", ["site.toml", "site-1mw.toml"])
def test_shipped_sites_load(name: str) -> None:
    with as_file(files("data") / name) as path:
        assert load_site(path).site.name


def test_the_reference_hall_is_the_papers() -> None:
    hall = load_site().hall
    assert hall.nodes == 8
    assert hall.gpus == 64


def test_every_role_is_a_point_of_a_configured_device() -> None:
    site = load_site()
    devices = {device.name for device in site.device}
    named = [
        point for value in site.roles.model_dump().values() for point in ([value] if isinstance(value, str) else value)
    ]
    assert named
    assert [point for point in named if point.split("/")[0] not in devices] == []


def test_an_unknown_key_is_refused_with_file_key_and_expectation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"site\.toml.*unknown key 'site\.zon', did you mean 'zone'"):
        _load(tmp_path, _shipped().replace("\nzone =", "\nzon ="))


def test_an_unknown_key_of_a_device_is_named(tmp_path: Path) -> None:
    text = _shipped().replace("unit_id =", "unit_nr =", 1)
    with pytest.raises(ConfigError, match=r"unknown key 'device\.\d+\.unit_nr', did you mean 'unit_id'"):
        _load(tmp_path, text)


def test_a_value_of_the_wrong_kind_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'site\.latitude_deg'.*less than or equal to 90.*got 123"):
        _load(tmp_path, _shipped().replace("latitude_deg = 37", "latitude_deg = 123#", 1))


@pytest.mark.parametrize("literal", ["public", "secret:abc", "env:"])
def test_a_literal_secret_is_refused_and_not_echoed(tmp_path: Path, literal: str) -> None:
    text = _shipped().replace('"env:ECO_SNMP_COMMUNITY"', f'"{literal}"', 1)
    with pytest.raises(ConfigError, match="a secret is a reference") as raised:
        _load(tmp_path, text)
    assert f"'{literal}'" not in str(raised.value)


def test_toml_that_does_not_parse_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 1"):
        _load(tmp_path, "[site\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read: No such file"):
        load_site(tmp_path / "none.toml")


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO_TEST_SECRET", "from-env")
    (tmp_path / "key").write_text("from-file\n")
    assert resolve_secret("env:ECO_TEST_SECRET") == "from-env"
    assert resolve_secret(f"file:{tmp_path / 'key'}") == "from-file"


def test_a_secret_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ECO_NOT_SET is not set"):
        resolve_secret("env:ECO_NOT_SET")
    with pytest.raises(ConfigError, match="cannot read the secret"):
        resolve_secret(f"file:{tmp_path / 'none'}")
