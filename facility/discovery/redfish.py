"""Discovery over Redfish: the service root, which every service shows without a login (DSP0266, 6.1)."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from facility.discovery.discover import Finding, Target, candidates
from facility.errors import DeviceError

ROOT = "/redfish/v1/"
SHOWN = ("RedfishVersion", "Vendor", "Product", "Name", "UUID")


async def probe(target: Target) -> Finding:
    """Raises DeviceError where no service root comes. The certificate is verified."""
    port = target.port("redfish")
    root = await _root(target.host, port, target.deadline_s)
    says = {key: str(root[key]) for key in SHOWN if root.get(key)}
    known = ", ".join(profile.name for profile in candidates("redfish")) or "none is shipped"
    hint = f"the rest needs a login: give 'http' with user and password, and one of the profiles: {known}"
    return Finding("redfish", port, says, hint=hint)


async def _root(host: str, port: int, deadline_s: float) -> dict[str, Any]:
    where, trust = f"redfish {host}:{port}", ssl.create_default_context()
    try:
        async with httpx.AsyncClient(timeout=deadline_s, trust_env=False, verify=trust) as client:
            answer = await client.get(f"https://{host}:{port}{ROOT}", headers={"Accept": "application/json"})
        root = answer.raise_for_status().json()
    except httpx.TimeoutException as error:
        raise DeviceError(f"no answer within {deadline_s:g} s", where=where) from error
    except httpx.HTTPStatusError as error:
        raise DeviceError(f"the service root answers {error.response.status_code}", where=where) from error
    except httpx.HTTPError as error:
        bad = isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error)
        hint = "bad certificate: get the device's own, and give it as http.ca_file" if bad else "nothing listens there?"
        raise DeviceError(f"no Redfish service: {error}", where=where, hint=hint) from error
    except ValueError as error:
        raise DeviceError("the service root is not JSON", where=where) from error
    if not isinstance(root, dict) or "RedfishVersion" not in root:
        raise DeviceError("a web server, but no Redfish service", where=where)
    return root
