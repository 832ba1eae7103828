"""The kubelet's word on which pod holds which GPU: its PodResources socket, version 1, over gRPC."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from apps.agent.allocation import Allocation, Device, Holder, allocation_of
from apps.agent.podresources_api import LIST, MESSAGES, grpc
from facility.errors import DeviceError, DeviceTimeout, Reason

ANSWER_MAX_BYTES = 16 * 1024 * 1024  # as the kubelet's own clients allow


class PodResources:
    """The kubelet's socket; blocking calls, each with a deadline in wall seconds."""

    def __init__(self, socket: Path, deadline_s: float = 2.0) -> None:
        """Sends nothing yet."""
        self._socket, self._deadline_s = socket, deadline_s
        self._channel: Any = None

    def allocation(self) -> Allocation:
        """Who holds which GPU now. Raises DeviceError where the kubelet does not answer."""
        if not self._socket.exists():
            raise DeviceError(
                "the kubelet's socket is not there",
                where=str(self._socket),
                hint="mount /var/lib/kubelet/pod-resources into the agent's pod",
                reason=Reason.CONFIG,
            )
        try:
            return allocation_of(self._devices())
        except grpc.RpcError as error:
            self.close()
            raise self._failure(error) from error

    def _devices(self) -> list[Device]:
        if self._channel is None:
            options = [("grpc.max_receive_message_length", ANSWER_MAX_BYTES)]
            self._channel = grpc.insecure_channel(f"unix://{self._socket.resolve()}", options=options)
        ask = self._channel.unary_unary(
            LIST,
            request_serializer=MESSAGES["ListPodResourcesRequest"].SerializeToString,
            response_deserializer=MESSAGES["ListPodResourcesResponse"].FromString,
        )
        answer = ask(MESSAGES["ListPodResourcesRequest"](), timeout=self._deadline_s)
        return [
            Device(Holder(pod.namespace, pod.name, container.name), devices.resource_name, device_id)
            for pod in answer.pod_resources
            for container in pod.containers
            for devices in container.devices
            for device_id in devices.device_ids
        ]

    def _failure(self, error: grpc.RpcError) -> DeviceError:
        code, where = error.code(), str(self._socket)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeviceTimeout(f"no answer within {self._deadline_s:g} s", where=where, hint="is the kubelet alive?")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            hint = "PodResources version 1 came with Kubernetes 1.20"
            return DeviceError("the kubelet has no such call", where=where, hint=hint, reason=Reason.WRONG_DEVICE)
        hint = "may this user open it?" if code is grpc.StatusCode.UNAVAILABLE else ""
        return DeviceError(f"gRPC {code.name}: {error.details()}", where=where, hint=hint)

    def close(self) -> None:
        """Close the channel; a later call opens it again."""
        if self._channel is not None:
            with contextlib.suppress(grpc.RpcError):
                self._channel.close()
        self._channel = None
