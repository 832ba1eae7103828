"""One BACnet device as its services: who it is, its properties in batches, writes and subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bacpypes3.apdu import (
    ReadPropertyACK,
    ReadPropertyMultipleACK,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectReason,
    SubscribeCOVRequest,
    WritePropertyRequest,
)
from bacpypes3.basetypes import PropertyIdentifier, PropertyReference, ReadAccessSpecification
from bacpypes3.pdu import IPv4Address
from bacpypes3.primitivedata import ObjectIdentifier

from facility.devices.bacnet.client import MAX_APDU, UNCONFIGURED, Client, RefusedError
from facility.devices.bacnet.values import Property, Tags, content, instance, number

ObjectId = tuple[int, int]  # type and instance
DEVICE = 8  # object type
WHO_IS_S = 1.0  # an I-Am takes no longer, or it was broadcast to where nobody of ours listens
UNKNOWN_OBJECT, UNKNOWN_PROPERTY = "unknown-object", "unknown-property"
UNKNOWN_SERVICE = str(RejectReason.unrecognizedService)
SAFE_APDU = 480  # octets; what MS/TP carries: for a device that does not say what it takes
ENVELOPE = 24  # octets of headers around the results of a ReadPropertyMultiple
# Octets of a property in an answer: its identifier, brackets, and the value or an error. An object takes 7 more.
OBJECT_OCTETS = 7
OCTETS = {
    Property.PRESENT_VALUE: 13,
    Property.STATUS_FLAGS: 8,
    Property.RELIABILITY: 8,
    Property.UNITS: 8,
    Property.PRIORITY_ARRAY: 88,
}


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a property was not read: an error code in the standard's words."""

    code: str


NO_ANSWER = Denied("missing from the answer")
Answers = Mapping[tuple[ObjectId, Property], Tags | Denied]


class Station:
    """A device at an address. Every method raises RefusedError; deadlines are the caller's."""

    def __init__(self, client: Client, address: tuple[str, int]) -> None:
        self.address = IPv4Address(address)
        self._client = client
        self._max_apdu = SAFE_APDU
        self._takes_multiple = True

    async def identify(self, wanted: int) -> int | None:
        """The device's instance: by a directed Who-Is, or by reading its device object where no I-Am comes back.

        None where something answers that has no device object ``wanted`` and does not say which it has.
        """
        heard = await self._client.who_is(address=self.address, timeout=WHO_IS_S)
        if heard and int(heard[0].iAmDeviceIdentifier[0]) == DEVICE:
            self._max_apdu = min(int(heard[0].maxAPDULengthAccepted), MAX_APDU)
            return int(heard[0].iAmDeviceIdentifier[1])
        for number_ in (UNCONFIGURED, wanted):  # not every device answers to the wildcard
            answer = await self._single((DEVICE, number_), Property.OBJECT_IDENTIFIER)
            found = None if isinstance(answer, Denied) else instance(answer)
            if found is not None:
                await self._learn_size(found)
                return found
        return None

    async def _learn_size(self, found: int) -> None:
        answer = await self._single((DEVICE, found), Property.MAX_APDU_LENGTH_ACCEPTED)
        size = None if isinstance(answer, Denied) else number(answer)
        self._max_apdu = min(int(size), MAX_APDU) if size else SAFE_APDU

    async def read(self, objects: Sequence[ObjectId], properties: Sequence[Property]) -> Answers:
        """The same properties of many objects, in as few messages as the device's message size allows."""
        each = OBJECT_OCTETS + sum(OCTETS[name] for name in properties)
        count = max((self._max_apdu - ENVELOPE) // each, 1)
        answers: dict[tuple[ObjectId, Property], Tags | Denied] = {}
        for start in range(0, len(objects), count):
            answers.update(await self._batch(objects[start : start + count], properties))
        return answers

    async def _batch(self, objects: Sequence[ObjectId], properties: Sequence[Property]) -> Answers:
        if self._takes_multiple:
            try:
                return await self._multiple(objects, properties)
            except RefusedError as said:
                if said.is_silence:
                    raise
                if said.code == UNKNOWN_SERVICE:
                    self._takes_multiple = False
                elif len(objects) > 1:  # too big, or one unknown object spoils the answer: in halves
                    middle = len(objects) // 2
                    halves = [await self._batch(half, properties) for half in (objects[:middle], objects[middle:])]
                    return {**halves[0], **halves[1]}
        return await self._one_by_one(objects, properties)

    async def _multiple(self, objects: Sequence[ObjectId], properties: Sequence[Property]) -> Answers:
        references = [PropertyReference(propertyIdentifier=PropertyIdentifier(int(name))) for name in properties]
        request = ReadPropertyMultipleRequest(
            listOfReadAccessSpecs=[
                ReadAccessSpecification(objectIdentifier=ObjectIdentifier(each), listOfPropertyReferences=references)
                for each in objects
            ],
            destination=self.address,
        )
        answer = await self._client.ask(request)
        return _results(answer, ((each, name) for each in objects for name in properties))

    async def _one_by_one(self, objects: Sequence[ObjectId], properties: Sequence[Property]) -> Answers:
        answers: dict[tuple[ObjectId, Property], Tags | Denied] = {}
        for each in objects:
            for name in properties:
                if name is Property.RELIABILITY and not isinstance(answers.get((each, Property.STATUS_FLAGS)), Denied):
                    answers[each, name] = Denied("spared: the fault flag says as much")
                    continue
                answer = answers[each, name] = await self._single(each, name)
                if isinstance(answer, Denied) and answer.code == UNKNOWN_OBJECT:
                    answers.update({(each, other): answer for other in properties})
                    break
        return answers

    async def read_one(self, target: ObjectId, name: Property, index: int | None = None) -> Tags | Denied:
        """One property, or an element of it (from 1; 0 is their number)."""
        return await self._single(target, name, index)

    async def _single(self, target: ObjectId, name: Property, index: int | None = None) -> Tags | Denied:
        request = ReadPropertyRequest(
            objectIdentifier=ObjectIdentifier(target),
            propertyIdentifier=PropertyIdentifier(int(name)),
            propertyArrayIndex=index,
            destination=self.address,
        )
        try:
            answer = await self._client.ask(request)
        except RefusedError as said:
            if said.is_silence:
                raise
            return Denied(said.code)
        return content(answer.propertyValue) if isinstance(answer, ReadPropertyACK) else NO_ANSWER

    async def write(self, target: ObjectId, value: Any, priority: int) -> None:
        """Write the present value at a priority; a Null empties that slot."""
        request = WritePropertyRequest(
            objectIdentifier=ObjectIdentifier(target),
            propertyIdentifier=PropertyIdentifier(int(Property.PRESENT_VALUE)),
            propertyValue=value,
            priority=priority,
            destination=self.address,
        )
        await self._client.ask(request)

    async def subscribe(self, target: ObjectId, process: int, lifetime_s: int) -> None:
        """Have changes of value and status pushed to us, unconfirmed, for so long; again to renew."""
        request = SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=ObjectIdentifier(target),
            issueConfirmedNotifications=False,
            lifetime=lifetime_s,
            destination=self.address,
        )
        await self._client.ask(request)

    async def unsubscribe(self, target: ObjectId, process: int) -> None:
        """End a subscription."""
        request = SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=ObjectIdentifier(target),
            destination=self.address,
        )
        await self._client.ask(request)


def _results(answer: Any, asked: Iterable[tuple[ObjectId, Property]]) -> Answers:
    """What a ReadPropertyMultiple brought of what was asked for; what it brought besides is left aside."""
    found: dict[tuple[ObjectId, Property], Tags | Denied] = dict.fromkeys(asked, NO_ANSWER)
    results = answer.listOfReadAccessResults if isinstance(answer, ReadPropertyMultipleACK) else None
    for result in results or ():
        target = (int(result.objectIdentifier[0]), int(result.objectIdentifier[1]))
        for element in result.listOfResults or ():
            key = (target, int(element.propertyIdentifier))
            if key in found and element.readResult is not None:  # a Property equals its number
                found[key] = _outcome(element.readResult)
    return found


def _outcome(result: Any) -> Tags | Denied:
    error = result.propertyAccessError
    return content(result.propertyValue) if error is None else Denied(str(error.errorCode))
