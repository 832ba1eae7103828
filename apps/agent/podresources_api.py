"""The kubelet's PodResources API, version 1, described by hand: the messages and the one call that the agent makes.

Field numbers are those of k8s.io/kubelet/pkg/apis/podresources/v1/api.proto. What is not described here is skipped by
the protobuf runtime, as any newer field would be. grpcio and protobuf come with the extra ``agent``.
"""

from __future__ import annotations

from typing import Any, Final

from facility.errors import ConfigError

try:
    import grpc  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from google.protobuf import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )
except ImportError as error:
    raise ConfigError(
        f"the kubelet speaks gRPC, and {error.name} is not installed",
        where="eco agent",
        hint="pip install 'eco-orchestrator[agent]'",
    ) from error

PACKAGE: Final = "v1"
SERVICE: Final = "v1.PodResourcesLister"
LIST: Final = f"/{SERVICE}/List"

_FIELD = descriptor_pb2.FieldDescriptorProto
_TEXT, _MESSAGE = _FIELD.TYPE_STRING, _FIELD.TYPE_MESSAGE
_ONE, _MANY = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED
# Message: field, number, label, type, type name.
_MESSAGES: dict[str, tuple[tuple[str, int, int, int, str], ...]] = {
    "ListPodResourcesRequest": (),
    "ContainerDevices": (("resource_name", 1, _ONE, _TEXT, ""), ("device_ids", 2, _MANY, _TEXT, "")),
    "ContainerResources": (("name", 1, _ONE, _TEXT, ""), ("devices", 2, _MANY, _MESSAGE, "ContainerDevices")),
    "PodResources": (
        ("name", 1, _ONE, _TEXT, ""),
        ("namespace", 2, _ONE, _TEXT, ""),
        ("containers", 3, _MANY, _MESSAGE, "ContainerResources"),
    ),
    "ListPodResourcesResponse": (("pod_resources", 1, _MANY, _MESSAGE, "PodResources"),),
}


def _messages() -> dict[str, Any]:
    """The message classes by name, in a pool of their own: another library may know the same names."""
    file = descriptor_pb2.FileDescriptorProto(name="podresources/v1.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind, type_name in fields:
            of_type = {"type_name": f".{PACKAGE}.{type_name}"} if type_name else {}
            message.field.add(name=field, number=number, label=label, type=kind, **of_type)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindFileByName(file.name)
    return {name: message_factory.GetMessageClass(described) for name, described in found.message_types_by_name.items()}


MESSAGES: Final = _messages()

__all__ = ["LIST", "MESSAGES", "SERVICE", "grpc"]
