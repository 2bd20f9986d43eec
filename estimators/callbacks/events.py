"""Event files, as TensorBoard reads them, without TensorBoard's packages.

An event file is a sequence of records (TFRecord). A record is the length of its data, a checksum of
the length, the data and a checksum of the data. The data is a message `Event` of Protocol Buffers,
of which only these fields are written:

    Event:   1 wall_time (double), 2 step (varint), 3 file_version, 5 summary, 7 session_log
    Summary: 1 value (repeated):  1 tag, 2 simple_value (float)
    SessionLog: 1 status, of which 1 is START

TensorFlow, ``core/lib/io/record_writer.h`` and ``core/util/event.proto``; the checksum is CRC-32C
(Castagnoli, IEEE Trans. Commun. 41, 1993) as RFC 3720 defines it, turned and shifted.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, with its bits reversed
_FILE_VERSION = b"brain.Event:2"


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_CRCS = [_crc_of_byte(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRCS[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    """A checksum as records have it: a CRC of data that holds CRCs would be weak."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])


def _message(field: int, data: bytes) -> bytes:
    """A field that is a message or a string: its number with wire type 2, its length, its data."""
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _event(wall_time: float, step: int, rest: bytes) -> bytes:
    return _record(b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step) + rest)


def first_record(wall_time: float) -> bytes:
    """Return the record that an event file begins with.

    Parameters
    ----------
    wall_time : float
        Seconds since 1970.
    """
    return _event(wall_time, 0, _message(3, _FILE_VERSION))


def restart_record(wall_time: float, step: int) -> bytes:
    """Return a record by which steps from `step` on, in older files, are no longer shown."""
    return _event(wall_time, step, _message(7, b"\x08\x01"))


def scalars_record(wall_time: float, step: int, scalars: Mapping[str, float]) -> bytes:
    """Return the record of some numbers.

    Parameters
    ----------
    wall_time : float
        Seconds since 1970.
    step : int
        Their step, 0 or greater.
    scalars : mapping of str to float
        The numbers by their tags. They are kept in single precision.
    """
    values = b"".join(
        _message(1, _message(1, tag.encode()) + b"\x15" + _float32(value))
        for tag, value in scalars.items()
    )
    return _event(wall_time, step, _message(5, values))


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # as a cast has it
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))
