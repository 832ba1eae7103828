"""Options that take several files one after another: ``--carbon A B`` beside ``--carbon A --carbon B``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_OPTIONS = ("--carbon", "--price", "--weather")


class ManyFiles(TyperCommand):
    """A command whose file options may be followed by more than one file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each further file, as the parser expects it."""
        return super().parse_args(ctx, spelled_out(args))


def spelled_out(args: list[str]) -> list[str]:
    """``args`` with a file option repeated before each of its files."""
    result: list[str] = []
    option = ""
    for arg in args:
        if arg.startswith("-"):
            option = arg if arg in _OPTIONS else ""
            result.append(arg)
        elif option and result[-1] != option:
            result += [option, arg]
        else:
            result.append(arg)
    return result
