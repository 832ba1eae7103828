"""What an intensity means: direct and life-cycle, average and marginal are four quantities that no forecast mixes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from facility.errors import DataError
from twin.signals.series import CARBON, Series

MARGINAL_CARBON = "marginal_carbon_intensity_g_kwh"


class Scope(StrEnum):
    """What is counted: the chimney alone, or the plant's whole life."""

    DIRECT = "direct"
    LIFECYCLE = "lifecycle"


class Accounting(StrEnum):
    """Whose emissions: of the mean kWh of the hour, or of the next one."""

    AVERAGE = "average"
    MARGINAL = "marginal"


@dataclass(frozen=True, slots=True)
class CarbonKind:
    """One of the four quantities that people call carbon intensity."""

    scope: Scope
    accounting: Accounting = Accounting.AVERAGE

    def __str__(self) -> str:
        return f"{self.scope} {self.accounting}"

    @property
    def quantity(self) -> str:
        """The name under which readings and forecasts of this kind travel: a marginal one can never be taken for an
        average.
        """
        return CARBON if self.accounting is Accounting.AVERAGE else MARGINAL_CARBON


def kind_of(series: Series) -> CarbonKind:
    """The kind of a carbon series; raises DataError where the series does not say it."""
    accounting = {CARBON: Accounting.AVERAGE, MARGINAL_CARBON: Accounting.MARGINAL}.get(series.quantity)
    if accounting is None or series.kind not in tuple(Scope):
        raise DataError(
            f"a series of {series.quantity} of kind {series.kind!r} is no carbon intensity",
            where=series.source,
            hint="give a series of direct or life-cycle intensity",
        )
    return CarbonKind(Scope(series.kind), accounting)


def require_kind(series: Series, wanted: CarbonKind) -> None:
    """Raise DataError where the series is of another kind than ``wanted``."""
    found = kind_of(series)
    if found != wanted:
        raise DataError(
            f"the series is {found} and {wanted} is wanted",
            where=series.source,
            hint="fit a model on the same kind, or give the other columns of the file",
        )
