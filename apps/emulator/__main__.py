"""``python -m apps.emulator --state DIR``: a building on loopback, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from apps.emulator.serve import EmulatorConfig, serve
from facility.errors import EcoError


def read_arguments(arguments: Sequence[str] | None = None) -> EmulatorConfig:
    """The configuration from the command line; ends the process with a message where that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m apps.emulator", description="An emulated building on loopback.")
    parser.add_argument("--state", type=Path, required=True, help="directory for ports, tokens, clock and saved state")
    parser.add_argument("--site", type=Path, help="site file; the reference hall where left out")
    parser.add_argument("--jobs-json", dest="jobs", type=Path, help="JSON list of jobs, besides those in world.json")
    parser.add_argument("--seed", type=int, default=1, help="which building of its kind")
    parser.add_argument("--speed", type=float, default=60.0, help="seconds a wall second, where no clock.json exists")
    parser.add_argument("--modbus-port", type=_port, default=15020)
    parser.add_argument(
        "--snmp-port", type=_port, default=11611, help="of the first PDU; the others and the UPS follow"
    )
    parser.add_argument("--cluster-port", type=_port, default=15080)
    return EmulatorConfig(**vars(parser.parse_args(arguments)))


def _port(text: str) -> int:
    port = int(text)
    if not 1024 <= port <= 65535:
        raise argparse.ArgumentTypeError("ports are 1024 to 65535")
    return port


def main() -> int:
    """Serve until stopped; 0 after an orderly end, 1 with a message where it could not start."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = read_arguments()
    try:
        asyncio.run(serve(config))
    except EcoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
