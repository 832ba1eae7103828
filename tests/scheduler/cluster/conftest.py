from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.cluster.api import Kube
from tests.peers.kube import ApiServer, api_server
from tests.peers.kube_rig import NAMESPACE, Rig, make_rig


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as started:
        kube = started.client()
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        kube.create("/api/v1/namespaces", space)
        yield started


@pytest.fixture
def kube(server: ApiServer) -> Kube:
    return server.client()


@pytest.fixture
def rig(kube: Kube, tmp_path: Path) -> Iterator[Rig]:
    yield from make_rig(kube, tmp_path)
