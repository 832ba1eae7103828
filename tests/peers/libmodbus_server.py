"""A Modbus TCP server on libmodbus: ``python -m tests.peers.libmodbus_server LIBRARY PORT START HEX [START HEX]``.

Serves holding registers from START with the contents HEX, with a second pair input registers, too, and nothing else:
any other address is an illegal one. What is written is kept.
"""

from __future__ import annotations

import ctypes
import sys


class Mapping(ctypes.Structure):
    """modbus_mapping_t of libmodbus 3.1."""

    _fields_ = [
        ("nb_bits", ctypes.c_int),
        ("start_bits", ctypes.c_int),
        ("nb_input_bits", ctypes.c_int),
        ("start_input_bits", ctypes.c_int),
        ("nb_input_registers", ctypes.c_int),
        ("start_input_registers", ctypes.c_int),
        ("nb_registers", ctypes.c_int),
        ("start_registers", ctypes.c_int),
        ("tab_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_registers", ctypes.POINTER(ctypes.c_uint16)),
        ("tab_registers", ctypes.POINTER(ctypes.c_uint16)),
    ]


def load(path: str) -> ctypes.CDLL:
    """The library with the signatures that are used here."""
    library = ctypes.CDLL(path)
    library.modbus_new_tcp.restype = ctypes.c_void_p
    library.modbus_new_tcp.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.modbus_mapping_new_start_address.restype = ctypes.POINTER(Mapping)
    library.modbus_mapping_new_start_address.argtypes = [ctypes.c_uint] * 8
    library.modbus_tcp_listen.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.modbus_tcp_accept.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    library.modbus_receive.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.modbus_reply.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(Mapping)]
    library.modbus_close.argtypes = [ctypes.c_void_p]
    return library


def words(content: str) -> list[int]:
    """Registers of big-endian bytes in hexadecimal."""
    data = bytes.fromhex(content)
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def serve(path: str, port: int, holding: tuple[int, list[int]], given: tuple[int, list[int]]) -> None:
    """Serve one connection after another, for ever; ``holding`` and ``given`` (input) are start and registers."""
    library = load(path)
    context = library.modbus_new_tcp(b"127.0.0.1", port)
    mapping = library.modbus_mapping_new_start_address(0, 0, 0, 0, holding[0], len(holding[1]), given[0], len(given[1]))
    for i, register in enumerate(holding[1]):
        mapping.contents.tab_registers[i] = register
    for i, register in enumerate(given[1]):
        mapping.contents.tab_input_registers[i] = register
    listening = ctypes.c_int(library.modbus_tcp_listen(context, 1))
    query = ctypes.create_string_buffer(260)
    while True:
        library.modbus_tcp_accept(context, ctypes.byref(listening))
        while (length := library.modbus_receive(context, query)) >= 0:
            library.modbus_reply(context, query, length, mapping)
        library.modbus_close(context)


if __name__ == "__main__":
    starts, contents = sys.argv[3::2], sys.argv[4::2]
    ranges = [(int(start), words(content)) for start, content in zip(starts, contents, strict=True)]
    serve(sys.argv[1], int(sys.argv[2]), ranges[0], ranges[1] if len(ranges) > 1 else (0, []))
