"""A mirror of one collection: list, then watch with bookmarks; list again on 410; wait longer after each failure.

The mirror says how old its knowledge is, because a controller that sees nothing must do nothing.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from scheduler.cluster.api import Gone, Json, Kube, KubeError, NotFound

log = logging.getLogger("eco.watch")

WATCH_S = 240  # a watch is renewed after so long, plus up to a quarter
BACKOFF_S = (0.2, 30.0)
ABSENT_S = 60.0  # until a kind that the server does not know is asked for again

Key = tuple[str, str]  # (namespace, name); "" for what has no namespace


def key_of(obj: Mapping[str, Any]) -> Key:
    """Namespace and name of an object."""
    metadata = obj["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])


def slim(obj: Json) -> Json:
    """The object without the record of who manages which field, often half of it."""
    obj.get("metadata", {}).pop("managedFields", None)
    return obj


class Mirror:
    """Keeps the objects of a collection up to date in a thread of its own."""

    def __init__(
        self,
        kube: Kube,
        path: str,
        notify: Callable[[], None],
        trim: Callable[[Json], Json] = slim,
        watch_s: int = WATCH_S,
        **query: str,
    ) -> None:
        """``notify`` is called in the thread after each change; ``trim`` makes an object smaller before it is kept."""
        self._kube, self.path, self._notify, self._trim, self._query = kube, path, notify, trim, query
        self._watch_s = watch_s
        self._objects: dict[Key, Json] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen_s: float | None = None
        self._version = ""
        self.is_absent = False  # the server does not know the kind
        self.relists = 0
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)

    def start(self) -> None:
        """Begin to list and watch."""
        self._thread.start()

    def stop(self) -> None:
        """End at the next event or bookmark; does not wait."""
        self._stop.set()

    @property
    def objects(self) -> dict[Key, Json]:
        """All objects, as last seen; the dictionary is a copy, the objects must not be changed."""
        with self._lock:
            return dict(self._objects)

    @property
    def age_s(self) -> float:
        """Seconds since the server last said something; infinite before the first list."""
        return float("inf") if self._seen_s is None else time.monotonic() - self._seen_s

    def put(self, obj: Json) -> None:
        """Take in an object as a write has returned it, so that the writer sees it before the watch tells of it."""
        with self._lock:
            known = self._objects.get(key_of(obj))
            if known is not None and _newer(obj, known):
                self._objects[key_of(obj)] = self._trim(obj)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._list()
                failures = 0
                while not self._stop.is_set():
                    self._follow()
            except Gone:
                self.relists += 1  # list again at once: the version is too old to go on from
            except NotFound:
                self._forget()
                self._stop.wait(ABSENT_S * random.uniform(0.75, 1.25))
            except KubeError as error:
                failures += 1
                self.problem = str(error)
                log.debug("%s", error)
                wait_s = min(BACKOFF_S[0] * 2 ** min(failures, 20), BACKOFF_S[1])
                self._stop.wait(wait_s * random.uniform(0.5, 1.0))

    def _list(self) -> None:
        items, version = self._kube.items(self.path, **self._query)
        fresh = {key_of(item): self._trim(item) for item in items}
        with self._lock:
            self._objects = fresh
        self._version, self.is_absent = version, False
        self._touch()
        self._notify()

    def _follow(self) -> None:
        seconds = int(self._watch_s * random.uniform(1.0, 1.25))
        for event in self._kube.watch(self.path, self._version, seconds, **self._query):
            self._take(event["type"], event["object"])
            if self._stop.is_set():
                return
        self._touch()

    def _take(self, what: str, obj: Json) -> None:
        self._version = str(obj["metadata"]["resourceVersion"])
        self._touch()
        if what == "BOOKMARK":
            return
        with self._lock:
            if what == "DELETED":
                self._objects.pop(key_of(obj), None)
            else:
                self._objects[key_of(obj)] = self._trim(obj)
        self._notify()

    def _forget(self) -> None:
        with self._lock:
            self._objects = {}
        self.is_absent = True
        self._touch()

    def _touch(self) -> None:
        self._seen_s, self.problem = time.monotonic(), ""


def _newer(one: Json, other: Json) -> bool:
    """Versions of one server grow as numbers do (KEP-5504 makes them comparable)."""
    first, second = one["metadata"]["resourceVersion"], other["metadata"]["resourceVersion"]
    return int(first) > int(second) if first.isdigit() and second.isdigit() else True
