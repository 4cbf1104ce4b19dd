"""The frame around a file of compiled code: damage is found before any byte of the code is used.

A frame is a header and a payload of opaque bytes. The header holds a magic number with the format's version, the
length of the payload, and a SHA-256 checksum over all the rest and over the key that the file was written for. A
changed bit anywhere, a file that is too short or too long, and a file of another key under this one's name all differ
from what the header says. The checksum guards against accidents; whether a file's author can be trusted is decided by
the folder that it is in.

Only the standard library is imported here, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import struct

MAGIC = b"\x93nlkern\x01"  # the last byte is the version of this format
_START = struct.Struct("<8sQ")  # magic, length of the payload
_DIGEST_SIZE = hashlib.sha256().digest_size
HEADER_SIZE = _START.size + _DIGEST_SIZE


class DamagedError(ValueError):
    """The bytes are not what was written for this key."""


def wrap(payload: bytes, key: bytes) -> bytes:
    """A frame around ``payload``, to be read again under the same ``key``."""
    start = _START.pack(MAGIC, len(payload))
    return start + _digest(start, key, payload) + payload


def unwrap(frame: bytes, key: bytes) -> memoryview:
    """The payload of a frame that ``wrap`` made for this key, not copied; raises DamagedError for any other bytes."""
    if len(frame) < HEADER_SIZE:
        raise DamagedError(f"it has {len(frame)} bytes; expected at least {HEADER_SIZE}")
    magic, length = _START.unpack_from(frame)
    if magic != MAGIC:
        raise DamagedError("it does not begin as a compiled kernel does")
    if len(frame) != HEADER_SIZE + length:
        raise DamagedError(f"it has {len(frame)} bytes; its header says {HEADER_SIZE + length}")
    view = memoryview(frame)
    payload = view[HEADER_SIZE:]
    if _digest(view[: _START.size], key, payload) != view[_START.size : HEADER_SIZE]:
        raise DamagedError("its checksum does not match")
    return payload


def _digest(start: bytes | memoryview, key: bytes, payload: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(start)
    # With its length, so that no byte can count to the key once and to the payload another time.
    digest.update(len(key).to_bytes(8, "little") + key)
    digest.update(payload)
    return digest.digest()
