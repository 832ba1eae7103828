"""Whether DCGM's or Kepler's own exporter runs on this node: two of one name would count everything twice."""

from __future__ import annotations

import asyncio

import httpx

from apps.agent.config import AgentConfig, Export

DCGM_PORT, KEPLER_PORT = 9400, 28282
DCGM_MARK, KEPLER_MARK = "DCGM_FI_DEV_", "kepler_"
LOOK_S = 60.0  # wall seconds between two looks
TIMEOUT_S = 2.0


class Beside:
    """Looks now and then; ``dcgm`` and ``kepler`` say whether we are to export those names."""

    def __init__(self, config: AgentConfig, dcgm_port: int = DCGM_PORT, kepler_port: int = KEPLER_PORT) -> None:
        self._config, self._ports = config, (dcgm_port, kepler_port)
        # Until the first look is over nothing is exported under another's name.
        self.dcgm = config.dcgm is Export.ON
        self.kepler = config.kepler is Export.ON

    async def look(self) -> None:
        """Ask both places once."""
        wishes = (self._config.dcgm, self._config.kepler)
        marks = (DCGM_MARK, KEPLER_MARK)
        self.dcgm, self.kepler = await asyncio.gather(*map(self._is_ours, wishes, self._ports, marks))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def _is_ours(self, wish: Export, port: int, mark: str) -> bool:
        if wish is not Export.AUTO:
            return wish is Export.ON
        host = self._config.beside_host
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError:
            return True
        return answer.status_code != 200 or mark not in answer.text
