"""The catalogue of what-if questions, read from data/scenarios.toml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from facility.errors import ConfigError
from facility.site import StrictModel, load_toml, validate
from twin.scenarios.case import Case

Setting = bool | int | float | str
FREE = "free"  # the question without changes of its own: only what the caller sets


class Change(StrictModel):
    """One parameter that a question changes: the value it asks for, and between what it may be moved."""

    name: str
    value: Setting
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name not in Case.model_fields:
            raise ValueError(f"no parameter is called {self.name!r}")
        self.check(self.value)
        return self

    def check(self, value: Setting) -> None:
        """Raise ValueError where ``value`` lies outside the range or the choices of this question."""
        if self.choices and str(value) not in self.choices:
            raise ValueError(f"{self.name} is one of {', '.join(self.choices)} here, not {value!r}")
        if self.low is None or self.high is None:
            return
        if not self.low <= float(value) <= self.high:
            raise ValueError(f"{self.name} is asked between {self.low:g} and {self.high:g}, not {value}")


class Question(StrictModel):
    """One question: what it changes, against which baseline, and in which figures the answer lies."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: str
    look_at: tuple[str, ...] = ()
    note: str = ""
    baseline: dict[str, Setting] = Field(default_factory=dict)
    change: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.cases()
        return self

    def cases(
        self, changed: Mapping[str, Setting] | None = None, shared: Mapping[str, Setting] | None = None
    ) -> tuple[Case, Case]:
        """Baseline and scenario. ``changed`` moves the scenario alone, ``shared`` both.

        Raises ConfigError for a parameter that does not exist or a value out of range.
        """
        asked: dict[str, Setting] = {one.name: one.value for one in self.change} | dict(changed or {})
        base = self.baseline | dict(shared or {})
        where = f"question {self.id}"
        scenario = validate(Case, base | asked, where)
        for one in self.change:
            try:
                one.check(getattr(scenario, one.name))
            except ValueError as error:
                raise ConfigError(
                    str(error), where=where, hint="ask freely, without --question, to go further"
                ) from error
        return validate(Case, base, where), scenario


class Catalogue(StrictModel):
    """All questions, by id."""

    question: tuple[Question, ...]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [one.id for one in self.question]
        if len(set(ids)) < len(ids) or FREE in ids:
            raise ValueError(f"question ids must differ, and {FREE!r} is taken")
        return self

    def of(self, name: str) -> Question:
        """The question called ``name``; raises ConfigError where there is none."""
        if name == FREE:
            return Question(id=FREE, text="What if this is changed?")
        for one in self.question:
            if one.id == name:
                return one
        known = ", ".join(one.id for one in self.question)
        raise ConfigError(f"no question is called {name!r}", where="--question", hint=f"one of: {known}")


def load_catalogue(path: Path | None = None) -> Catalogue:
    """The catalogue in ``path``; None gives the one that ships with the product."""
    return _shipped() if path is None else validate(Catalogue, load_toml(path), path)


@lru_cache(maxsize=1)
def _shipped() -> Catalogue:
    with as_file(files("data") / "scenarios.toml") as path:
        return validate(Catalogue, load_toml(path), "data/scenarios.toml")


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """``name=value`` pairs; raises ConfigError for another form or an unknown name."""
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name.strip() not in Case.model_fields:
            known = ", ".join(Case.model_fields)
            raise ConfigError(f"{text!r} sets nothing", where="--set", hint=f"write NAME=VALUE, with one of: {known}")
        settings[name.strip()] = value.strip()
    return settings
