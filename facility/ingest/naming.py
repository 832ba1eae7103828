"""Point names from what a file calls things: safe names, unit suffixes, and numbers where two would be the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_UNSAFE = re.compile(r"[^a-z0-9]+")
_UNSAFE_HOST = re.compile(r"[^a-z0-9.]+")
_DATE = r"\d{4}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"
_TIME = r"\d{2}[:.-]?\d{2}(?:[:.-]?\d{2})?"
_STAMP_IN_NAME = re.compile(rf"[-_.]({_DATE})(?:[T_.-]?({_TIME})Z?)?$")
_EXTENSIONS = re.compile(r"(\.(?:txt|log|out|sdr|csv|gz|xz|json|dat))+$", re.IGNORECASE)
_WHAT = re.compile(r"[-_.](?:ipmitool|ipmi|sdr|sensors?)$", re.IGNORECASE)


def safe(text: str) -> str:
    """Lower case, anything but letters and digits as one underscore; ``unnamed`` where nothing is left."""
    return _UNSAFE.sub("_", text.lower()).strip("_") or "unnamed"


def host_of(file_name: str) -> tuple[str, str]:
    """The host that a dump's file name says, and the date or time in it: ``node7-2025-06-03.txt`` is node7's."""
    stem = _EXTENSIONS.sub("", file_name)
    stem = _WHAT.sub("", stem)
    found = _STAMP_IN_NAME.search(stem)
    stamp = ""
    if found:
        digits = found[1].replace("-", "")
        stamp = f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
        if found[2]:
            clock = re.sub(r"\D", "", found[2])
            stamp += "T" + ":".join(clock[at : at + 2] for at in range(0, len(clock), 2))
        stem = _WHAT.sub("", stem[: found.start()])
    return _UNSAFE_HOST.sub("-", stem.lower()).strip("-.") or "host", stamp


@dataclass(slots=True)
class Names:
    """Names given so far on one host; a second thing that would be called the same gets a number."""

    equipment: str
    _taken: set[str] = field(default_factory=set)

    def give(self, name: str, suffix: str) -> str:
        """``temp`` and ``c`` as host/temp_c, the next such as host/temp_2_c; no suffix where it is empty."""
        base = safe(name)
        ends = f"_{suffix}" if suffix and not base.endswith(f"_{suffix}") else ""
        chosen, number = f"{base}{ends}", 1
        while chosen in self._taken:
            number += 1
            chosen = f"{base}_{number}{ends}"
        self._taken.add(chosen)
        return f"{self.equipment}/{chosen}"
