"""Personal tokens: what is kept of them, and what the command line does with them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apps.tokens import Role, Tokens
from facility.errors import ConfigError, DataError

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "tokens.json")


def test_only_a_hash_is_kept_readable_by_the_owner_alone(tokens: Tokens, tmp_path: Path) -> None:
    text, token = tokens.create("Ada Lovelace", Role.OPERATOR, LATER)
    kept = tmp_path / "tokens.json"
    secret = text.removeprefix(f"eco_{token.id}_")
    assert len(secret) >= 43
    assert secret not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = tokens.find(text)
    assert found is not None
    assert (found.person, found.role, found.state(datetime.now(UTC))) == ("Ada Lovelace", Role.OPERATOR, "valid")


@pytest.mark.parametrize("change", ["{}x", "x{}", "", "eco_", "eco__", "eco_ffffffffffff_x"])
def test_another_text_is_no_token(tokens: Tokens, change: str) -> None:
    text, _ = tokens.create("Ada Lovelace", Role.VIEWER, LATER)
    assert tokens.find(change.format(text)) is None


def test_a_token_ends_by_time_and_by_revocation(tokens: Tokens) -> None:
    text, token = tokens.create("Ada Lovelace", Role.VIEWER, LATER)
    assert token.state(LATER) == "expired"
    tokens.revoke(token.id)
    found = tokens.find(text)
    assert found is not None
    assert found.state(datetime.now(UTC)) == "revoked"


def test_what_makes_no_sense_is_refused(tokens: Tokens) -> None:
    with pytest.raises(DataError, match="name of a person"):
        tokens.create("  ", Role.VIEWER, LATER)
    with pytest.raises(DataError, match="expired already"):
        tokens.create("Ada Lovelace", Role.VIEWER, datetime.now(UTC))
    with pytest.raises(DataError, match="no token of this ID"):
        tokens.revoke("none")


def test_two_at_once_lose_no_token(tokens: Tokens, tmp_path: Path) -> None:
    def create() -> None:
        for _ in range(10):
            Tokens(tmp_path / "tokens.json").create("Ada Lovelace", Role.VIEWER, LATER)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens.all()) == 40


def test_a_damaged_file_says_what_to_do(tokens: Tokens, tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("[{}]")
    with pytest.raises(ConfigError, match="create the tokens anew"):
        tokens.all()


def test_roles_cover_those_before_them() -> None:
    assert Role.ADMIN.covers(Role.OPERATOR)
    assert Role.OPERATOR.covers(Role.OPERATOR)
    assert not Role.VIEWER.covers(Role.OPERATOR)


def _token(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli", "token", *arguments, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command_creates_lists_and_revokes(tmp_path: Path) -> None:
    made = json.loads(_token(tmp_path, "create", "Ada Lovelace", "--role", "operator", "--for", "1d", "--json").stdout)
    assert Tokens(tmp_path / "tokens.json").find(made["token"]) is not None
    assert _token(tmp_path, "revoke", made["id"]).returncode == 0
    (row,) = json.loads(_token(tmp_path, "list", "--json").stdout)
    assert (row["person"], row["role"], row["state"]) == ("Ada Lovelace", "operator", "revoked")
    assert made["token"] not in json.dumps(row)
    again = _token(tmp_path, "revoke", "none")
    assert again.returncode == 1
    assert "eco token list" in again.stderr
