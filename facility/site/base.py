"""Strict TOML into pydantic models: unknown keys are refused, and an error names file, key and what was expected."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from facility.errors import ConfigError


class StrictModel(BaseModel):
    """Base of every configuration model: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _check_secret_reference(value: str) -> str:
    scheme, _, rest = value.partition(":")
    if scheme not in ("env", "file") or not rest:
        raise ValueError("a secret is a reference, 'env:NAME' or 'file:PATH', never the secret itself")
    return value


SecretRef = Annotated[str, AfterValidator(_check_secret_reference)]
"""A reference to a secret: ``env:NAME`` or ``file:PATH``. A literal is refused."""


def resolve_secret(reference: str) -> str:
    """The secret behind a reference; raises ConfigError where the variable or file is not there."""
    scheme, _, rest = _check_secret_reference(reference).partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(f"environment variable {rest} is not set", where=reference, hint=f"export {rest}=...")
        return value
    try:
        return Path(rest).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the secret: {error.strerror}", where=reference) from error


def resolve_path(text: str) -> str:
    """A path as it is, or that in an environment variable, ``env:NAME``; raises ConfigError where there is none."""
    return resolve_secret(text) if text.startswith("env:") else text


ModelT = TypeVar("ModelT", bound=BaseModel)


def load_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; raises ConfigError with file and line where it cannot be."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text, so not TOML", where=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from error


def validate(model: type[ModelT], data: dict[str, Any], path: Path | str) -> ModelT:
    """``data`` as ``model``; raises ConfigError that lists every problem with its key and what was expected."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_describe(problem, model) for problem in error.errors(include_url=False)]
        raise ConfigError("; ".join(problems), where=str(path), hint="correct these keys and try again") from error


def _describe(problem: Any, model: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        expected = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(sorted(known))}"
        return f"unknown key '{key}', {expected}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    given = problem.get("input")
    shown = "" if isinstance(given, dict | list) or _is_secret(problem) else f", got {given!r}"
    return f"key '{key}': {problem['msg'].removeprefix('Value error, ')}{shown}"


def _is_secret(problem: Any) -> bool:
    return "never the secret itself" in problem["msg"]  # a mistyped secret must not be echoed


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names of the model nested at ``location``, looking through lists and optionals."""
    current: type[BaseModel] | None = model
    for part in location:
        if part.isdigit() or current is None:
            continue
        field = current.model_fields.get(part)
        current = _model_in(field.annotation) if field is not None else None
    return list(current.model_fields) if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
