"""SunSpec: where a device keeps its models. The map begins with 'SunS', then model follows model (ID, length, body).

Source: SunSpec Device Information Model Specification 1.1, sections 6.2 (base addresses) and 6.3 (chain, end model).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from facility.errors import DeviceError, Reason

MARKER = (0x5375, 0x6E53)  # "SunS"
BASES = (40000, 50000, 0)  # zero-based, in the order that the specification prefers
END = 0xFFFF  # ID of the model that ends the chain
MAX_MODELS = 64  # a chain that goes on for longer is no chain

Words = Callable[[int, int], Awaitable[Sequence[int] | None]]  # (address, count) -> words, None where refused


async def find_model(read: Words, wanted: Sequence[int], where: str) -> int:
    """Address of the ID register of the first model that is one of ``wanted``.

    Raises DeviceError where there is no map, or no such model in it.
    """
    base = await _find_base(read)
    if base is None:
        hint = "is SunSpec switched on, and is the unit id right?"
        raise DeviceError("no SunSpec map found", where=where, hint=hint, reason=Reason.UNKNOWN_MODEL)
    address = base + len(MARKER)
    seen: list[int] = []
    while len(seen) < MAX_MODELS and (head := await read(address, 2)) is not None and head[0] != END:
        model, length = head
        if model in wanted:
            return address
        seen.append(model)
        address += length + 2
    names = ", ".join(str(model) for model in wanted)
    found = ", ".join(str(model) for model in seen) or "none"
    said = f"no SunSpec model {names}; the device has {found}"
    raise DeviceError(said, where=where, hint="is the profile right?", reason=Reason.UNKNOWN_MODEL)


async def _find_base(read: Words) -> int | None:
    for base in BASES:
        words = await read(base, len(MARKER))
        if words is not None and tuple(words) == MARKER:
            return base
    return None


def scaled(mantissa: float, exponent: float | None) -> float | None:
    """mantissa x 10^exponent; None where the scale-factor register is not implemented (-32768) or no exponent at all.

    Divided where negative, so that 2301 and -1 give 230.1 as it is written.
    """
    if exponent is None or not -10 <= exponent <= 10:
        return None
    factor: float = 10.0 ** abs(exponent)
    return mantissa * factor if exponent >= 0 else mantissa / factor
