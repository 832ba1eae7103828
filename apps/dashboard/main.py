"""The live page: power, PUE, carbon, inlet temperatures, jobs, and the last decisions with their reasons."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from apps.dashboard import charts
from apps.dashboard.client import Api, ApiError

SPAN = timedelta(hours=12)
EVERY_S = 300.0
REFRESH_S = 5.0


def connect() -> Api:
    """The service whose address and token lie in the state directory; raises ApiError where there is none yet."""
    state = Path(os.environ["ECO_STATE"])
    try:
        address = json.loads((state / "api.json").read_text(encoding="utf-8"))
        token = (state / "api.token").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ApiError("The service is not up yet.") from error
    return _api(address["url"], token)


@st.cache_resource
def _api(url: str, token: str) -> Api:
    return Api(url, token)


@st.fragment(run_every=REFRESH_S)
def live() -> None:
    """Everything on the page; drawn anew every few seconds."""
    try:
        api = connect()
        about, state = api.get("/v1/about"), api.get("/v1/state")
        _header(about, api.get("/v1/health"))
        _meters(api, about, state)
        _decisions(api, about["run"])
        _jobs(state)
    except ApiError as error:
        st.warning(f"{error} This page tries again every {REFRESH_S:.0f} seconds.")


def _header(about: dict[str, Any], health: dict[str, Any]) -> None:
    now = datetime.fromisoformat(about["now"])
    st.title(f"Eco-Orchestrator: {about['site']['name']}")
    st.caption(
        f"{now:%Y-%m-%d %H:%M} UTC, {about['speed']:g} times real time. Mode **{about['mode']}**, "
        f"policy {about['policy']}. "
        f"Heartbeats {health['heartbeats']}, readings kept {health['readings_acknowledged']:,}."
    )
    synthetic = [name for name, signal in about["signals"].items() if signal["synthetic"]]
    if synthetic:
        st.info(
            f"Synthetic {' and '.join(synthetic)}: for trying out, not for reporting. Give files to use recorded ones."
        )
    for problem in health["problems"]:
        st.error(problem)


def _meters(api: Api, about: dict[str, Any], state: dict[str, Any]) -> None:
    roles, now = about["roles"], datetime.fromisoformat(about["now"])
    start = max(datetime.fromisoformat(about["start"]), now - SPAN)
    raw = api.series([roles["facility_power_w"], *roles["it_power_w"]], start, EVERY_S, about["run"])
    power_kw = pd.DataFrame(
        {
            "facility": raw[roles["facility_power_w"]] / 1000.0,
            "IT": raw[roles["it_power_w"]].sum(axis=1, skipna=False) / 1000.0,
        }
    ).dropna()
    inlet_c = api.series(roles["rack_inlet_c"], start, EVERY_S, about["run"])
    forecasts = api.get("/v1/forecasts")
    _tiles(api, power_kw, inlet_c, state)
    left, right = st.columns(2)
    with left:
        _chart(charts.power_chart(power_kw), power_kw)
        _chart(charts.inlet_chart(inlet_c), inlet_c)
    with right:
        pue = power_kw["facility"] / power_kw["IT"]
        _chart(charts.pue_chart(pue), pue.to_frame("PUE"))
        carbon = forecasts.get("carbon_intensity_g_kwh")
        if carbon is None:
            st.info("Carbon forecast: after the first decision.")
        else:
            day = _first_day(carbon)
            _chart(charts.carbon_chart(day, about["now"]), pd.DataFrame({"g/kWh": day["value"]}))


def _first_day(forecast: dict[str, Any]) -> dict[str, Any]:
    steps = int(86400 / forecast["step_s"])
    cut = {key: forecast[key][:steps] if forecast[key] is not None else None for key in ("value", "low", "high")}
    return {**forecast, **cut}


def _tiles(api: Api, power_kw: pd.DataFrame, inlet_c: pd.DataFrame, state: dict[str, Any]) -> None:
    summary = api.get("/v1/summary")
    hottest = inlet_c.iloc[-1].max() if len(inlet_c) else None
    running = sum(job["phase"] == "running" for job in state["jobs"])
    last = power_kw.iloc[-1] if len(power_kw) else None
    tiles = {
        "Facility": "-" if last is None else f"{last['facility']:.1f} kW",
        "IT": "-" if last is None else f"{last['IT']:.1f} kW",
        "PUE of this run": _figure(summary["pue"], "{:.3f}"),
        "Carbon of this run": _figure(summary["carbon_kg"], "{:.1f} kg"),
        "Hottest inlet": _figure(hottest, "{:.1f} C"),
        "Jobs running / waiting": f"{running} / {len(state['jobs']) - running}",
    }
    for column, (label, value) in zip(st.columns(len(tiles)), tiles.items(), strict=True):
        column.metric(label, value)


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None or pd.isna(value) else form.format(value)


def _chart(figure: go.Figure, table: pd.DataFrame) -> None:
    title = str(figure.layout.title.text)
    st.plotly_chart(figure, width="stretch", key=title, config={"displayModeBar": False})
    with st.expander("As a table"):
        st.dataframe(table, width="stretch", key=f"table {title}")


def _jobs(state: dict[str, Any]) -> None:
    st.subheader("Jobs")
    rows = [
        {
            "job": status["job"]["name"],
            "phase": status["phase"],
            "workload": status["job"]["workload"],
            "GPUs": status["job"]["gpus"],
            "left (h)": round(status["remaining_s"] / 3600, 2),
            "deadline (UTC)": pd.Timestamp(status["job"]["deadline"]),
            "may wait": status["job"]["flexible"],
            "nodes": ", ".join(node for node, _ in status["placement"]),
            "pauses": status["suspensions"],
        }
        for status in state["jobs"]
    ]
    if rows:
        table = pd.DataFrame(rows).sort_values(["phase", "deadline (UTC)"], ascending=[False, True])
        st.dataframe(table, hide_index=True, width="stretch")
    else:
        st.write("No jobs are waiting or running.")


def _decisions(api: Api, run: str) -> None:
    st.subheader("Last decisions")
    decisions = api.query("decisions", limit=5, run=run)
    if decisions.empty:
        st.write("None yet: the first comes at the next quarter of an hour.")
    for row in decisions.to_dict("records"):
        payload = json.loads(row["payload"])
        st.markdown(f"**{row['ts']:%H:%M}** {payload['reason']}")
        with st.expander(f"{len(payload['commands'])} commands, {len(payload['jobs'])} jobs considered"):
            st.dataframe(
                pd.DataFrame(payload["commands"], columns=["point", "value", "unit", "reason"]), hide_index=True
            )
            st.dataframe(pd.DataFrame(payload["jobs"], columns=["job", "outcome", "reason"]), hide_index=True)
    with st.expander("What the guard said"):
        st.dataframe(api.query("verdicts", limit=50, run=run), hide_index=True, width="stretch")


st.set_page_config(page_title="Eco-Orchestrator", page_icon=None, layout="wide")
live()
