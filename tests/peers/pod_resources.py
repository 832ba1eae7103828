"""A kubelet's PodResources service: real gRPC on a unix socket, with the pods that a test gives it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.shared import missing

UUIDS = ("GPU-00000000-0000-0000-0000-000000000000", "GPU-00000000-0000-0000-0000-000000000001")  # of nvml_stub.c


@dataclass(frozen=True, slots=True)
class HeldPod:
    """A pod with one container that holds ``device_ids``."""

    namespace: str
    name: str
    device_ids: Sequence[str]
    resource: str = "nvidia.com/gpu"
    container: str = "main"


@dataclass
class Kubelet:
    """The service; ``pods`` may be changed while it runs."""

    socket: Path
    pods: list[HeldPod] = field(default_factory=list)
    calls: int = 0

    def answer(self, messages: dict[str, Any]) -> Any:
        """The answer of List."""
        self.calls += 1
        answer = messages["ListPodResourcesResponse"]()
        for pod in self.pods:
            added = answer.pod_resources.add(name=pod.name, namespace=pod.namespace)
            container = added.containers.add(name=pod.container)
            container.devices.add(resource_name=pod.resource, device_ids=list(pod.device_ids))
        return answer


@contextlib.contextmanager
def kubelet(folder: Path, *pods: HeldPod) -> Iterator[Kubelet]:
    """Serve PodResources in ``folder``, which must have a short path; skips where gRPC is not installed."""
    try:
        import grpc  # type: ignore[import-untyped, import-not-found, unused-ignore]

        from apps.agent.podresources_api import MESSAGES, SERVICE
    except ImportError:
        missing("grpcio is not installed: pip install grpcio")
    made = Kubelet(folder / "kubelet.sock", list(pods))
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: made.answer(MESSAGES),
        request_deserializer=MESSAGES["ListPodResourcesRequest"].FromString,
        response_serializer=MESSAGES["ListPodResourcesResponse"].SerializeToString,
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"List": handler}),))
    server.add_insecure_port(f"unix://{made.socket}")
    server.start()
    try:
        yield made
    finally:
        server.stop(0).wait()
