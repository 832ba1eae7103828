"""Files into the store: recordings, ``ipmitool sdr`` dumps and CSV; one format a file, and the intake of them all."""

from facility.ingest.batch import Account, Batch, Format
from facility.ingest.intake import Intake, Result, recognise
from facility.ingest.mapping import Mapping, load_mapping
from facility.ingest.recording import Recordings
from facility.ingest.sdr import SdrDumps
from facility.ingest.source import Source, find
from facility.ingest.table import MappedTables

__all__ = [
    "Account",
    "Batch",
    "Format",
    "Intake",
    "MappedTables",
    "Mapping",
    "Recordings",
    "Result",
    "SdrDumps",
    "Source",
    "find",
    "load_mapping",
    "recognise",
]
