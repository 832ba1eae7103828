"""Prometheus through a profile: each point is a PromQL query, and a name with ``{label}`` is a point for each series.

``{hostname}/gpu-{gpu}/power_w`` is filled with the labels of each series, whatever their case; a series that lacks one
of them is no point: a name is never made up. A query that is a plain selector is asked for its samples' own time too,
for Prometheus repeats a sample for five minutes after it was scraped. A rate goes on for as long as its window after
the last sample, and knows nothing of its time: ``time_query`` tells it, and a series of which it knows none is gone.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from facility.clock import Clock
from facility.devices.base import Absent, ProfileDevice
from facility.devices.prometheus.api import PrometheusApi, QueryError, Sample, moment
from facility.errors import ConfigError, DeviceError
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.records import Quality, Reading
from facility.site import Device

log = logging.getLogger("eco.prometheus")

AT_ONCE = 4  # queries under way
LABEL = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
UNSAFE = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """One point with its newest sample; ``is_unclear`` where two series claim to be it at one time."""

    point: ProfilePoint
    sample: Sample
    is_unclear: bool = False


class PrometheusDevice(ProfileDevice):
    """One Prometheus server; read only."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "prometheus")
        if device.http is None:
            raise ConfigError("a prometheus device needs a table 'http'", where=device.name)
        self._api = PrometheusApi(device.name, device.host, device.port, device.http, device.deadline_s)
        self._refused: dict[str, str] = {}  # by query: why it gives nothing, said once

    @property
    def api(self) -> PrometheusApi:
        """For history: ``api.history(...)``."""
        return self._api

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points, each with the time of its sample; a query that is refused costs its own points.

        Raises DeviceError where the server fails, or refuses every query.
        """
        answers = await self._ask_all()
        self._adopt([answer.point for answer in answers.values() if answer.point.name not in self._plain])
        self._expanded_at = self._clock.now()
        if points is None:
            return [self._reading(name, answers.get(name)) for name in self._by_name if self._is_due(name, answers)]
        for name in points:
            self._explain(name)
        return [self._reading(name, answers.get(name)) for name in points]

    @property
    def _plain(self) -> frozenset[str]:
        return frozenset(point.name for point in self._profile.point if not point.is_template)

    def _is_due(self, name: str, answers: Mapping[str, Answer]) -> bool:
        return name in answers or not self._by_name[name].optional

    async def _ask_all(self) -> dict[str, Answer]:
        """The answers by full point name."""
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(point: ProfilePoint) -> list[Sample] | QueryError:
            async with places:
                return await self._ask(point)

        asked = self._profile.point
        found = await asyncio.gather(*(ask(point) for point in asked))
        errors = [answer for answer in found if isinstance(answer, QueryError)]
        if len(errors) == len(asked):
            raise errors[0]
        answers: dict[str, Answer] = {}
        for point, samples in zip(asked, found, strict=True):
            for sample in samples if isinstance(samples, list) else ():
                self._merge(answers, point, sample)
        return answers

    async def _ask(self, point: ProfilePoint) -> list[Sample] | QueryError:
        try:
            samples = await self._api.query(point.query)
            asks_time = point.time_query or ("" if "(" in point.query else f"timestamp({point.query})")
            times = await self._api.query(asks_time) if asks_time else []
        except QueryError as error:
            if self._refused.get(point.query) != str(error):
                self._refused[point.query] = str(error)
                log.warning("%s/%s: %s", self.name, point.name, error)
            return error
        return _with_times(samples, times, is_needed=bool(point.time_query))

    def _merge(self, answers: dict[str, Answer], point: ProfilePoint, sample: Sample) -> None:
        filled = _filled(point, sample.labels)
        if filled is None:
            return
        name = f"{self.name}/{filled.name}"
        known = answers.get(name)
        if known is None or sample.at > known.sample.at:
            answers[name] = Answer(filled, sample)
        elif sample.at == known.sample.at and sample.value != known.sample.value:
            answers[name] = Answer(filled, known.sample, is_unclear=True)

    def _reading(self, name: str, answer: Answer | None) -> Reading:
        unit = self._by_name[name].unit
        if answer is None:
            return Reading(name, None, unit, self._clock.now(), Quality.BAD, self.name)
        value, quality = answer.point.decode(answer.sample.value)
        if answer.is_unclear and quality is Quality.GOOD:
            quality = Quality.UNCERTAIN
        return Reading(name, value, unit, answer.sample.at, quality, self.name)

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> Sequence[float | Absent | None]:
        answers = await self._ask_all()
        found = (answers.get(f"{self.name}/{point.name}") for point in wanted)
        return [None if answer is None else answer.sample.value for answer in found]

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        raise DeviceError("Prometheus takes no commands", where=f"{self.name}/{point.name}")

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _with_times(samples: Sequence[Sample], times: Sequence[Sample], *, is_needed: bool) -> list[Sample]:
    """Samples with the time at which they were scraped; one that has none is left out where it ``is_needed``."""
    scraped = {_key(one.labels): moment(one.value) for one in times}
    found = []
    for sample in samples:
        at = scraped.get(_key(sample.labels))
        if at is not None or not is_needed:
            found.append(Sample(sample.labels, min(sample.at, at or sample.at), sample.value))
    return found


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A series without its name: ``timestamp()`` drops that."""
    return tuple(sorted((label, text) for label, text in labels.items() if label != "__name__"))


def _filled(point: ProfilePoint, labels: Mapping[str, str]) -> ProfilePoint | None:
    """The point of one series; None where the series lacks a label that the name wants."""
    known = {label.casefold(): text for label, text in labels.items()}
    wanted = LABEL.findall(point.name)
    texts = {label: UNSAFE.sub("-", known.get(label, "").casefold()).strip("-") for label in wanted}
    if not all(texts.values()):
        return None
    if not wanted:
        return point
    name = LABEL.sub(lambda match: texts[match[1]], point.name)
    description = LABEL.sub(lambda match: texts.get(match[1], match[0]), point.description)
    return point.model_copy(update={"name": name, "description": description})
