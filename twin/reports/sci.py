"""Software carbon intensity, (E x I + M) per R (ISO/IEC 21031): per GPU-hour and per job; offsets do not count."""

from __future__ import annotations

from twin.kpi import sci_g
from twin.reports.embodied import SERVERS_WHERE, share_kg, words
from twin.reports.figure import Figure
from twin.reports.inputs import Inputs, joined
from twin.reports.iso30134 import CARBON_WHERE
from twin.reports.metered import overlap

STANDARD = "ISO/IEC 21031"
GPU_HOURS_WHERE = "GPU-hours delivered, as the platform counted them: --gpu-hours"
JOBS_WHERE = "number of jobs finished, as the platform counted them: --jobs-done"


def sci_figures(inputs: Inputs) -> tuple[Figure, Figure, Figure]:
    """Per delivered GPU-hour, per installed GPU-hour, and per job, with the whole site's energy and equipment."""
    installed = inputs.installed
    return (
        _sci(inputs, "sci_gpu_hour", "SCI per GPU-hour delivered", "g/GPU-hour", inputs.gpu_hours, GPU_HOURS_WHERE),
        _sci(
            inputs,
            "sci_installed_gpu_hour",
            "SCI per GPU-hour installed",
            "g/GPU-hour",
            None if installed is None else installed.gpus * inputs.span_s / 3600.0,
            "number of GPUs: a site file with [hall], by --site",
        ),
        _sci(inputs, "sci_job", "SCI per job", "g/job", inputs.jobs, JOBS_WHERE),
    )


def _sci(inputs: Inputs, key: str, name: str, unit: str, amount: float | None, where: str) -> Figure:
    """Over the time measured; units counted over the whole span are taken for that share of it."""
    head = (key, name, unit, STANDARD)
    facility, intensity = inputs.meters.get("facility"), inputs.location
    embodied_kg = share_kg(inputs, inputs.span_s)
    if facility is None or intensity is None or embodied_kg is None or not amount:
        lacking = (
            inputs.lacks("facility"),
            "" if intensity else CARBON_WHERE,
            SERVERS_WHERE if embodied_kg is None else "",
            "" if amount else where,
        )
        return inputs.absent(*head, joined(lacking))
    when = overlap([facility]).meet(intensity.spans)
    kwh, share = facility.over(when.known), when.length_s / inputs.span_s
    if not kwh or not share:
        return inputs.absent(*head, "no time at which both energy and intensity are known")
    mean_g_kwh = 1e3 * intensity.carbon_kg(facility, when.known) / kwh
    value = sci_g(kwh, mean_g_kwh, embodied_kg * share * 1e3, amount * share)
    note = f"E = main meter, location-based; {intensity.words}; M = {words(inputs)}; R = {amount:g} of the whole span"
    return inputs.figure(*head, value, when, note=note)
