"""The charts of the live page: data in, plotly figures out."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

# ASHRAE TC 9.9 (2021), dry bulb at the IT inlet.
RECOMMENDED_C = (18.0, 27.0)
ALLOWABLE_A1_C = (15.0, 32.0)

# One colour a meaning, the same in every chart; chosen to be told apart by colour-blind readers (Okabe and Ito).
FACILITY, IT, CARBON, FORECAST = "#0072B2", "#E69F00", "#009E73", "#56B4E9"
RACKS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def _layout(figure: go.Figure, title: str, unit: str) -> go.Figure:
    figure.update_layout(
        title={"text": title, "x": 0},
        yaxis_title=unit,
        height=300,
        margin={"l": 10, "r": 10, "t": 48, "b": 40},
        legend={"orientation": "h", "y": -0.3},
        hovermode="x unified",
    )
    return figure


def power_chart(power_kw: pd.DataFrame) -> go.Figure:
    """Main meter and IT power; the area between them is what cooling and conversion take."""
    figure = go.Figure()
    figure.add_scatter(x=power_kw.index, y=power_kw["IT"], name="IT", line={"color": IT}, fill="tozeroy")
    figure.add_scatter(
        x=power_kw.index, y=power_kw["facility"], name="facility", line={"color": FACILITY}, fill="tonexty"
    )
    return _layout(figure, "Power: facility and IT (kW)", "kW")


def pue_chart(pue: pd.Series[float]) -> go.Figure:
    """PUE over the same time."""
    figure = go.Figure(go.Scatter(x=pue.index, y=pue, name="PUE", line={"color": FACILITY}))
    figure.update_yaxes(rangemode="normal")
    return _layout(figure, "PUE, category 3 (facility / IT at the IT inlet)", "1")


def carbon_chart(forecast: dict[str, Any], now: str) -> go.Figure:
    """The carbon forecast that the last decision was made on, with its band."""
    times = pd.date_range(
        forecast["start"], periods=len(forecast["value"]), freq=pd.Timedelta(seconds=forecast["step_s"])
    )
    figure = go.Figure()
    if forecast["low"] is not None and forecast["high"] is not None:
        figure.add_scatter(x=times, y=forecast["high"], line={"width": 0}, showlegend=False, hoverinfo="skip")
        figure.add_scatter(
            x=times,
            y=forecast["low"],
            line={"width": 0},
            fill="tonexty",
            fillcolor="rgba(0,158,115,0.2)",
            name="90 % band",
        )
    figure.add_scatter(x=times, y=forecast["value"], name="forecast", line={"color": CARBON, "shape": "hv"})
    figure.add_vline(x=pd.Timestamp(now).timestamp() * 1000, line={"dash": "dot", "width": 1})
    label = "synthetic" if forecast["synthetic"] else forecast["source"]
    return _layout(figure, f"Carbon intensity, next 24 h (g/kWh), {label}", "g CO2e/kWh")


def inlet_chart(inlet_c: pd.DataFrame) -> go.Figure:
    """Rack inlet temperatures against the recommended and the allowable envelope."""
    figure = go.Figure()
    figure.add_hrect(*RECOMMENDED_C, fillcolor="#009E73", opacity=0.12, line_width=0)
    for limit in ALLOWABLE_A1_C:
        figure.add_hline(limit, line={"dash": "dash", "color": "#D55E00", "width": 1})
    for number, point in enumerate(inlet_c.columns):
        name, colour = str(point).split("/")[0], RACKS[number % len(RACKS)]
        figure.add_scatter(x=inlet_c.index, y=inlet_c[point], name=name, line={"color": colour})
    figure.update_yaxes(range=[14, 33])
    return _layout(figure, "Rack inlets (C) and ASHRAE: recommended 18-27 shaded, A1 15-32 dashed", "C")
