"""A report as one HTML page that needs nothing beside it: readable, printable, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from apps.reports.style import STYLE
from apps.reports.svg import Line, chart, legend
from facility.records import FloatArray
from twin.reports.build import TITLES, Report
from twin.reports.eu import Field, duty
from twin.reports.figure import Figure
from twin.reports.history import History


def to_html(report: Report) -> str:
    """The whole page."""
    inputs = report.inputs
    name = inputs.site or "site without a name"
    span = f"{inputs.start:%Y-%m-%d %H:%M} to {inputs.end:%Y-%m-%d %H:%M} UTC"
    interim = '<p class="flag">Interim: less than a year.</p>' if inputs.is_interim else ""
    made_up = inputs.location is not None and inputs.location.synthetic
    synthetic = '<p class="flag">Carbon intensity is synthetic: no measurement.</p>' if made_up else ""
    sections = []
    for standard, figures in report.figures.items():
        fields = _fields(report.fields) + f"<p>{escape(duty(inputs))}.</p>" if standard == "eu2024-1364" else ""
        sections.append(f"<section><h2>{escape(TITLES[standard])}</h2>{_figures(figures)}{fields}</section>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Report: {escape(name)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>{escape(name)}</h1><p>{escape(span)}</p>"
        f"<p>From {escape(inputs.source)}.</p>{interim}{synthetic}{''.join(sections)}"
        f"<section><h2>History</h2>{_history(report.history)}</section>{_meters(report)}</main></body></html>\n"
    )


def _figures(figures: Sequence[Figure]) -> str:
    rows = [
        (
            _cell(one.name),
            _cell(_number(one.value), "number"),
            _cell(one.unit),
            _cell("" if one.category is None else str(one.category)),
            _cell(f"{one.coverage_pct:.1f} %" if one.value is not None else "", "number"),
            _cell(_words(one), "missing" if one.missing else ""),
        )
        for one in figures
    ]
    return _table(("figure", "value", "unit", "category", "coverage", "note, or what is missing"), rows)


def _words(figure: Figure) -> str:
    if figure.missing:
        return f"Missing: {figure.missing}"
    if figure.limit is None:
        return figure.note
    return f"{'within' if figure.is_within else 'ABOVE'} the limit of {figure.limit:g}; {figure.note}"


def _fields(fields: Sequence[Field]) -> str:
    rows = [
        (
            _cell(f"{one.annex} {one.item}"),
            _cell(one.symbol),
            _cell(one.name),
            _cell(_number(one.value), "number"),
            _cell(one.unit),
            _cell("" if one.coverage_pct is None or one.value is None else f"{one.coverage_pct:.1f} %", "number"),
            _cell(f"Missing: {one.missing}" if one.missing else one.note, "missing" if one.missing else ""),
        )
        for one in fields
    ]
    head = ("annex, item", "symbol", "field", "value", "unit", "coverage", "note, or what is missing")
    return "<h3>Annexes I and II</h3>" + _table(head, rows)


def _history(past: History) -> str:
    """Three charts, and the one table behind them."""
    power = [Line("facility", past.facility_kw, "c1"), Line("IT", past.it_kw, "c2")]
    charts = [
        ("Power", "kW", power, True, "mean power of facility and IT"),
        ("PUE", "1", [Line("PUE", past.pue, "c1")], False, "facility over IT energy"),
        ("Carbon of the site, location-based", "kg/h", [Line("carbon", past.carbon_kg_h, "c3")], True, "CO2e an hour"),
    ]
    drawn = [_chart(past, *one) for one in charts]
    head = ("from (UTC)", "facility kW", "IT kW", "PUE", "carbon kg/h", "intensity g/kWh", "read %")
    columns = (past.facility_kw, past.it_kw, past.pue, past.carbon_kg_h, past.intensity_g_kwh, past.read_pct)
    rows = [
        (_cell(f"{at:%Y-%m-%d %H:%M}"), *(_cell(_number(float(column[index])), "number") for column in columns))
        for index, at in enumerate(past.start)
    ]
    table = f"<details><summary>The table behind the charts</summary>{_table(head, rows)}</details>"
    return "".join(drawn) + table


def _chart(past: History, title: str, unit: str, lines: Sequence[Line], zero: bool, what: str) -> str:
    seen = [f"{line.name} {_extent(line.value)}" for line in lines if np.isfinite(line.value).any()]
    if not seen:
        return f"<h3>{escape(title)} ({escape(unit)})</h3><p>No values.</p>"
    alt = f"{what}, {past.start[0]:%Y-%m-%d} to {past.start[-1]:%Y-%m-%d}: {'; '.join(seen)} {unit}"
    keys = legend(lines) if len(lines) > 1 else ""
    drawn = chart(title, unit, past.start, lines, alt, zero=zero)
    return f"<figure><figcaption>{escape(title)} ({escape(unit)})</figcaption>{drawn}{keys}</figure>"


def _extent(value: FloatArray) -> str:
    return f"{np.nanmin(value):.4g} to {np.nanmax(value):.4g}"


def _meters(report: Report) -> str:
    """Which points each quantity was read from: what an auditor asks first."""
    inputs = report.inputs
    rows = []
    for name, points in sorted(inputs.points.items()):
        meter = inputs.meters.get(name)
        read_s = 0.0 if meter is None else meter.read.length_s
        covered = f"{min(100.0 * read_s / inputs.span_s, 100.0):.1f} %"
        rows.append((_cell(name.replace("_", " ")), _cell(", ".join(points)), _cell(covered, "number")))
    return f"<section><h2>Meters</h2>{_table(('quantity', 'points', 'coverage'), rows)}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heading = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, style: str = "") -> str:
    return f'<td class="{style}">{escape(text)}</td>' if style else f"<td>{escape(text)}</td>"


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:,.4g}"
