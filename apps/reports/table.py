"""A report as rows, for CSV: the regulation's fields in its order, and figures one a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from twin.reports.build import Report
from twin.reports.eu import REGULATION, Field
from twin.reports.figure import Figure

COLUMNS = (
    "standard", "item", "symbol", "name", "unit", "value", "category", "coverage_pct", "from", "to", "interim",
    "missing", "note",
)  # fmt: skip


def rows(report: Report) -> list[dict[str, str]]:
    """Every field and figure; an empty value has a text in the column ``missing``."""
    found = []
    for name, group in report.figures.items():
        if name == "eu2024-1364":
            found += [_of_field(report, one) for one in report.fields]
        found += [_of_figure(one) for one in group]
    return found


def to_csv(report: Report) -> str:
    """The rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(report))
    return text.getvalue()


def _of_field(report: Report, field: Field) -> dict[str, str]:
    inputs = report.inputs
    return {
        "standard": f"{REGULATION}, Annex {field.annex}",
        "item": field.item,
        "symbol": field.symbol,
        "name": field.name,
        "unit": field.unit,
        "value": _plain(field.value),
        "category": "",
        "coverage_pct": _plain(field.coverage_pct),
        "from": inputs.start.isoformat(),
        "to": inputs.end.isoformat(),
        "interim": "yes" if inputs.is_interim else "no",
        "missing": field.missing,
        "note": field.note,
    }


def _of_figure(figure: Figure) -> dict[str, str]:
    return {
        "standard": figure.standard,
        "item": figure.key,
        "symbol": "",
        "name": figure.name,
        "unit": figure.unit,
        "value": _plain(figure.value),
        "category": "" if figure.category is None else str(figure.category),
        "coverage_pct": _plain(figure.coverage_pct),
        "from": figure.start.isoformat(),
        "to": figure.end.isoformat(),
        "interim": "yes" if figure.is_interim else "no",
        "missing": figure.missing,
        "note": figure.note,
    }


def _plain(value: float | str | None) -> str:
    """Every digit of a number: a table is for programs too."""
    return "" if value is None else value if isinstance(value, str) else repr(float(value))


def write(path: Path, text: str) -> None:
    """Replace a file in one step; raises OSError where it cannot be."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
