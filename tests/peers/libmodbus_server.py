"""A Modbus TCP server on libmodbus: ``python -m tests.peers.libmodbus_server LIBRARY PORT START HEX``.

Serves holding registers from START with the contents HEX, and nothing else: any other address is an illegal one.
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


def serve(path: str, port: int, start: int, content: bytes) -> None:
    """Serve one connection after another, for ever."""
    library = load(path)
    context = library.modbus_new_tcp(b"127.0.0.1", port)
    registers = [int.from_bytes(content[i : i + 2], "big") for i in range(0, len(content), 2)]
    mapping = library.modbus_mapping_new_start_address(0, 0, 0, 0, start, len(registers), 0, 0)
    for i, register in enumerate(registers):
        mapping.contents.tab_registers[i] = register
    listening = ctypes.c_int(library.modbus_tcp_listen(context, 1))
    query = ctypes.create_string_buffer(260)
    while True:
        library.modbus_tcp_accept(context, ctypes.byref(listening))
        while (length := library.modbus_receive(context, query)) >= 0:
            library.modbus_reply(context, query, length, mapping)
        library.modbus_close(context)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bytes.fromhex(sys.argv[4]))
