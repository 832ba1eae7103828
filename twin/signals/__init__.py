"""Carbon intensity, weather and price: files, their checks, and a labelled synthetic stand-in where the user gives
none.
"""

from twin.signals.carbon import read_electricity_maps
from twin.signals.epw import read_epw
from twin.signals.load import check_place, load_signals, read_weather
from twin.signals.openmeteo import read_open_meteo
from twin.signals.price import read_prices
from twin.signals.record import WeatherRecord, pressure_pa, wetbulb_series
from twin.signals.report import Finding, SeriesReport, report
from twin.signals.series import CARBON, DRYBULB, PRICE, RH, WETBULB, Gap, Series, Signals
from twin.signals.synthetic import synthetic_carbon, synthetic_prices, synthetic_signals, synthetic_weather
from twin.signals.zones import ZONES, Zone, canonical_zone

__all__ = [
    "CARBON",
    "DRYBULB",
    "PRICE",
    "RH",
    "WETBULB",
    "ZONES",
    "Finding",
    "Gap",
    "Series",
    "SeriesReport",
    "Signals",
    "WeatherRecord",
    "Zone",
    "canonical_zone",
    "check_place",
    "load_signals",
    "pressure_pa",
    "read_electricity_maps",
    "read_epw",
    "read_open_meteo",
    "read_prices",
    "read_weather",
    "report",
    "synthetic_carbon",
    "synthetic_prices",
    "synthetic_signals",
    "synthetic_weather",
    "wetbulb_series",
]
