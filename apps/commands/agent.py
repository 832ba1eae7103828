"""`eco agent`: one per GPU node; reads its GPUs, and holds them to what the controller allows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from apps.agent.agent import Agent
from apps.agent.beside import Beside
from apps.agent.cluster import NodeView
from apps.agent.config import METRICS_PORT, SOCKET, STATE, AgentConfig, Export
from apps.agent.cpu_energy import POWERCAP, CpuEnergy
from apps.agent.exporter import AgentCollector, Exporter
from apps.commands.output import print_json
from facility.clock import WallClock
from facility.devices.stalls.psi import find_unified
from facility.errors import EcoError
from facility.records import Mode
from scheduler.cluster.api import Kube, connect

log = logging.getLogger("eco.agent")


def agent(
    node: Annotated[
        str, typer.Option(envvar="NODE_NAME", help="Name of this node in the cluster.", show_default="host name")
    ] = "",
    mode: Annotated[
        Mode, typer.Option(envvar="ECO_AGENT_MODE", help="Limits are written in 'active' alone.")
    ] = Mode.SHADOW,
    state: Annotated[Path, typer.Option(help="Folder for what stood at each limit before.")] = STATE,
    kubelet_socket: Annotated[Path, typer.Option(help="The kubelet's PodResources socket.")] = SOCKET,
    kubeconfig: Annotated[
        str, typer.Option(help="File with the way to the API server.", show_default="in cluster")
    ] = "",
    no_api: Annotated[bool, typer.Option("--no-api", help="No API server: read and export only.")] = False,
    cgroup_root: Annotated[str, typer.Option(help="Folder of cgroup v2.", show_default="where it is mounted")] = "",
    powercap_root: Annotated[Path, typer.Option(help="Folder of the processors' energy counters (RAPL).")] = POWERCAP,
    poll_s: Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds between two looks at the GPUs.")] = 1.0,
    budget_poll_s: Annotated[float, typer.Option(min=0.1, max=300.0, help="Seconds between two budgets.")] = 10.0,
    max_hold_s: Annotated[float, typer.Option(min=1.0, max=7200.0, help="The longest a budget may hold.")] = 1800.0,
    metrics_address: Annotated[str, typer.Option(help="Where /metrics listens.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 is any free one.")] = METRICS_PORT,
    dcgm: Annotated[Export, typer.Option(help="Export DCGM's names: auto is while it is absent.")] = Export.AUTO,
    kepler: Annotated[Export, typer.Option(help="Export Kepler's names.")] = Export.AUTO,
    beside_host: Annotated[str, typer.Option(envvar="HOST_IP", help="Where those exporters would be.")] = "127.0.0.1",
    once: Annotated[bool, typer.Option("--once", help="One look, nothing is written; then end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was seen last, as JSON, at the end.")] = False,
) -> None:
    """Read the GPUs of this node and hold them, per pod, to a budget that expires."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = AgentConfig(
        node=node or socket.gethostname(),
        mode=Mode.SHADOW if once else mode,
        state=state.resolve(),
        kubelet_socket=kubelet_socket,
        kubeconfig=kubeconfig,
        cgroup_root=cgroup_root,
        powercap_root=powercap_root,
        poll_s=poll_s,
        budget_poll_s=budget_poll_s,
        max_hold_s=max_hold_s,
        metrics_address=metrics_address,
        metrics_port=None if once else metrics_port,
        dcgm=dcgm,
        kepler=kepler,
        beside_host=beside_host,
    )
    view = None if no_api else NodeView(Kube(connect(kubeconfig), config.deadline_s), config.node)
    made = Agent(config, WallClock(), view)
    errors = asyncio.run(_look_once(made) if once else _serve(made, config))
    if as_json or once:
        print_json(made.last.to_json())
    if errors:
        raise EcoError("; ".join(errors), where=config.node, hint="start the agent once more, or lift them by hand")


async def _look_once(made: Agent) -> list[str]:
    await made.look()
    return await made.close()


async def _serve(made: Agent, config: AgentConfig) -> list[str]:
    """Until a signal comes; limits are given back before it returns."""
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, made.stop)
    beside, cpu = Beside(config), CpuEnergy(find_unified(config.cgroup_root), config.powercap_root)
    tasks = [asyncio.create_task(beside.run()), asyncio.create_task(_count(cpu, config.poll_s))]
    exporter = None
    if config.metrics_port is not None:
        collector = AgentCollector(lambda: made.last, beside, lambda: cpu.joules)
        exporter = Exporter(collector, config.metrics_address, config.metrics_port)
        log.info("node %s, %s, metrics on port %d, pid %d", config.node, config.mode, exporter.port, os.getpid())
    try:
        return await made.run()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        if exporter is not None:
            await asyncio.to_thread(exporter.close)


async def _count(cpu: CpuEnergy, every_s: float) -> None:
    while True:
        await asyncio.to_thread(cpu.look)
        await asyncio.sleep(max(every_s, 1.0))
