"""Values that have broken readers before, and mutations of whole inputs that leave most of them standing."""

import copy
import json
import string
from random import Random
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

AnyMessage = TypeVar("AnyMessage", bound=Message)

STRINGS = (
    *("", " ", "\0", "a\0b", "\ufeff", "\u202e", "é", "💥" * 40, "\r\n", "'", '"', "__proto__", "NaN", "-inf"),
    *("../../../../etc/passwd", "/etc/passwd", "..", ".", "./..", "/", "//", "/proc/self/environ", "a/../../b", "~"),
    *("%2e%2e%2f", "$(id)", "; id", "{0.__class__}", "%s%n", "trial-0/../x", "-" * 300, "a" * 10_000, "é" * 5_000),
    *("00000000-0000-0000-0000-000000000000", "6F2C1F0E-8A1F-4A7E-9D55-0A4F6A6F1C11", "9" * 5000, "1e999"),
)
INTEGERS = (0, 1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**31), -(2**63))
DOUBLES = (0.0, -0.0, 1.0, -1.0, 1e-308, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 5e-324, 0.1)
RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
EXTREMES = (
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 11,
    b"\x80\x80\x80\x80\x08",
    b"\0" * 6 + b"\xf8\x7f",
)


def text(rng: Random) -> str:
    if rng.random() < 0.75:
        return rng.choice(STRINGS)
    return "".join(rng.choice(string.printable) for _ in range(rng.randint(0, 40)))


def scalar(rng: Random, field: Any) -> Any:
    """A value that the field can hold on the wire, at the edges of its type more often than not."""
    kind = field.cpp_type
    if kind in RANGES:
        low, high = RANGES[kind]
        if field.enum_type is not None and rng.random() < 0.6:
            return rng.choice(field.enum_type.values).number
        within = [value for value in INTEGERS if low <= value <= high]
        return rng.choice(within) if rng.random() < 0.6 else rng.randint(max(low, -3), min(high, 100))
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice(DOUBLES)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 32, 40, 400)))
    return text(rng)


def fill(rng: Random, message: Message, share: float = 0.5, depth: int = 4) -> None:
    """Sets about a `share` of a message's fields to hostile values."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < share:
            set_field(rng, message, field, depth)


def set_field(rng: Random, message: Message, field: Any, depth: int = 4) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[text(rng)] = text(rng)
    elif field.is_repeated:
        message.ClearField(field.name)
        for _ in range(rng.choice((0, 1, 2, 40))):
            if field.message_type is not None:
                fill(rng, getattr(message, field.name).add(), 0.5, depth - 1)
            else:
                getattr(message, field.name).append(scalar(rng, field))
    elif field.message_type is not None:
        part = getattr(message, field.name)
        part.SetInParent()
        if depth > 0:
            fill(rng, part, 0.5, depth - 1)
    else:
        setattr(message, field.name, scalar(rng, field))


def parts(message: Message) -> list[Message]:
    """The message and every message that is set inside of it."""
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            found += parts(inner)
    return found


def mutated(rng: Random, message: AnyMessage) -> AnyMessage:
    """A copy with one to three fields hostile or cleared: the rest is what a well-meant caller sends."""
    changed = copy.deepcopy(message)
    for _ in range(rng.randint(1, 3)):
        part = rng.choice(parts(changed))
        if not part.DESCRIPTOR.fields:
            continue
        field = rng.choice(part.DESCRIPTOR.fields)
        if rng.random() < 0.2:
            part.ClearField(field.name)
        else:
            set_field(rng, part, field)
    return changed


def mutated_bytes(rng: Random, content: bytes) -> bytes:
    """Bytes with some flipped, cut off, doubled, swapped or overwritten."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        at = rng.randint(0, max(0, len(changed) - 1))
        match rng.randint(0, 6):
            case 0:
                del changed[at:]
            case 1:
                changed[at:at] = rng.randbytes(rng.randint(1, 12))
            case 2:
                changed += changed[at : at + 4096]
            case 3:
                changed[at:at] = rng.choice(EXTREMES)
            case 4:
                end = min(len(changed), at + rng.choice((1, 8, 64)))
                del changed[at:end]
            case _:
                if changed:
                    changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randint(0, 255)))
    return bytes(changed)


def json_value(rng: Random, depth: int = 3) -> Any:
    match rng.randint(0, 6 if depth > 0 else 3):
        case 0:
            return rng.choice((*INTEGERS, *DOUBLES, 10**400))
        case 1:
            return text(rng)
        case 2:
            return rng.choice((None, True, False))
        case 3:
            return "\ud800"
        case 4:
            return [json_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
        case _:
            return {text(rng): json_value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def _nodes(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [] if inner is None else [value, *(node for item in list(inner) for node in _nodes(item))]


def mutated_json(rng: Random, value: Any) -> bytes:
    """JSON text of a copy with one to three places changed; now and then nested deeper than a parser goes."""
    if rng.random() < 0.02:
        depth = rng.choice((900, 5_000, 100_000))
        return (b"[" * depth) + (b"]" * depth if rng.random() < 0.5 else b"")
    changed = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        nodes = _nodes(changed)
        if not nodes:
            break
        node = rng.choice(nodes)
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            continue
        key = rng.choice(keys)
        if rng.random() < 0.2:
            del node[key]
        else:
            node[key] = json_value(rng)
    encoded = json.dumps(changed).encode()
    return encoded if rng.random() < 0.8 else mutated_bytes(rng, encoded)
