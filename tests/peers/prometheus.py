"""A real Prometheus on loopback that scrapes given targets every second."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.processes import free_port, running
from tests.peers.require import require_program

USER, PASSWORD = "reader", "prom-secret-7"
HASH = "$2b$04$Z8d0xAs0y19yBphwhEDr0.IJO6NWAbGUAmuuVJM7XoYFxu98fTVce"  # of PASSWORD, bcrypt


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that runs: its port and its process id."""

    port: int
    pid: int


@contextlib.contextmanager
def prometheus(
    folder: Path, targets: Sequence[int], *, port: int | None = None, cert: Path | None = None, key: Path | None = None
) -> Iterator[Prometheus]:
    """Scrapes ``targets`` (loopback ports); with a certificate it speaks TLS and wants USER and PASSWORD."""
    program = require_program("prometheus", "apt-get install prometheus")
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    named = ", ".join(f"'127.0.0.1:{target}'" for target in targets)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs:\n- job_name: hall\n  honor_labels: true\n  static_configs: [{{targets: [{named}]}}]\n"
    )
    options = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    if cert is not None:
        (folder / "web.yml").write_text(
            f"tls_server_config: {{cert_file: {cert}, key_file: {key}}}\nbasic_auth_users: {{{USER}: '{HASH}'}}\n"
        )
        options.append(f"--web.config.file={folder / 'web.yml'}")
    log = folder / "prometheus.log"
    with running([program, *options], log, lambda: "ready to receive web requests" in log.read_text()) as process:
        yield Prometheus(port, process.pid)
