"""What a broken or hostile peer may put on the wire, made by hypothesis from good messages."""

import struct
from dataclasses import replace

from hypothesis import strategies as st

from tests.peers.instances import CT_CONTEXT, SeriesNames, ct, element
from tests.peers.raw import Part10
from tests.peers.wire import (
    ABORT_PDU,
    ECHO_CONTEXT,
    P_DATA,
    RELEASE_RQ_PDU,
    associate_request,
    c_echo_elements,
    c_store,
    c_store_elements,
    command_set,
    p_data,
    pdu,
    pdv,
)

CONTEXTS = [CT_CONTEXT, ECHO_CONTEXT]
"""Proposed by every hostile peer: 1 is CT storage, 3 is verification."""
_CT_ID, _ECHO_ID = 1, 3
_NAMES = SeriesNames(study_instance_uid="2.25.66", series_instance_uid="2.25.66.1")
_SOME_BYTES = st.binary(max_size=200)
_ODD_TEXTS = st.sampled_from(
    [b"", b"\0\0", b"../../etc/passwd\0\0", b"1.2.3\\1.2.4 ", b"\xff\xfe\xfd\xfc", b"9" * 300]
)
_LENGTHS = st.sampled_from([0, 1, 3, 7, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])


def good_instance(number: int = 1) -> Part10:
    """Return the instance that mutations start from."""
    return ct(_NAMES, number, size_bytes=600)


def _conversation() -> list[bytes]:
    """Return the PDUs of a whole association that stores one instance."""
    item = good_instance()
    command = c_store(1, item.sop_class_uid, item.sop_instance_uid)
    return [
        associate_request(CONTEXTS),
        p_data(_CT_ID, command, is_command=True),
        p_data(_CT_ID, item.data_set[:300], is_last=False),
        p_data(_CT_ID, item.data_set[300:]),
        RELEASE_RQ_PDU,
    ]


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """An association with PDUs lost, repeated, reordered or damaged."""
    pdus = _conversation()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(pdus) - 1))
        match draw(st.sampled_from(["lose", "repeat", "swap", "abort", "damage", "insert"])):
            case "lose" if len(pdus) > 1:
                pdus.pop(place)
            case "swap":
                other = draw(st.integers(0, len(pdus) - 1))
                pdus[place], pdus[other] = pdus[other], pdus[place]
            case "abort":
                pdus.insert(place, ABORT_PDU)
            case "insert":
                pdus.insert(place, pdu(draw(st.integers(0, 255)), draw(_SOME_BYTES)))
            case "damage":
                pdus[place] = draw(damaged(pdus[place]))
            case _:
                pdus.insert(place, pdus[place])
    return b"".join(pdus)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut, overwritten, with something put between, or with another length or type."""
    place = draw(st.integers(0, max(0, len(content) - 1)))
    match draw(st.sampled_from(["cut", "overwrite", "put", "length", "type"])):
        case "cut":
            return content[:place]
        case "overwrite":
            noise = draw(st.binary(min_size=1, max_size=8))
            return content[:place] + noise + content[place + len(noise) :]
        case "put":
            return content[:place] + draw(_SOME_BYTES) + content[place:]
        case "length":
            return content[:2] + struct.pack(">I", draw(_LENGTHS)) + content[6:]
        case _:
            return bytes([draw(st.integers(0, 255))]) + content[1:]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """What follows the association: commands with wrong elements, in wrong fragments."""
    item = good_instance()
    elements = draw(
        st.sampled_from(
            [c_store_elements(1, item.sop_class_uid, item.sop_instance_uid), c_echo_elements(1)]
        )
    )
    for _ in range(draw(st.integers(1, 2))):
        elements = draw(_mutated_elements(elements))
    command = draw(st.one_of(st.just(command_set(elements)), damaged(command_set(elements))))
    context = draw(st.sampled_from([_CT_ID, _ECHO_ID, 0, 2, 5, 255]))
    return draw(_fragmented(context, command, is_command=True)) + draw(
        st.one_of(st.just(b""), _fragmented(context, item.data_set, is_command=False))
    )


@st.composite
def _mutated_elements(draw: st.DrawFn, elements: dict[int, bytes]) -> dict[int, bytes]:
    number = draw(st.sampled_from(sorted(elements)))
    values = st.one_of(
        _ODD_TEXTS, _SOME_BYTES, st.integers(0, 0xFFFF).map(lambda n: struct.pack("<H", n))
    )
    match draw(st.sampled_from(["lose", "change", "add", "command"])):
        case "lose":
            return {key: value for key, value in elements.items() if key != number}
        case "change":
            return {**elements, number: draw(values)}
        case "add":
            return {**elements, draw(st.integers(1, 0xFFFF)): draw(values)}
        case _:
            fields = [0x0021, 0x0020, 0x0010, 0x0FFF, 0x8001, 0x8030, 0x0100, 0x0130, 0x0140, 0, 7]
            return {**elements, 0x0100: struct.pack("<H", draw(st.sampled_from(fields)))}


@st.composite
def _fragmented(draw: st.DrawFn, context: int, content: bytes, *, is_command: bool) -> bytes:
    """Fragments with right or wrong control headers, several in a PDU, empty ones among them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    is_honest = draw(st.booleans())
    items = []
    for place, piece in enumerate(pieces):
        right = is_command | (place == len(pieces) - 1) << 1
        items.append(pdv(context, right if is_honest else draw(st.integers(0, 255)), piece))
    if draw(st.booleans()):
        return b"".join(pdu(P_DATA, item) for item in items)
    return pdu(P_DATA, b"".join(items))


@st.composite
def data_sets(draw: st.DrawFn) -> Part10:
    """An instance whose data set is damaged, endless, too deep or no data set at all."""
    item = good_instance(draw(st.integers(1, 5)))
    content = item.data_set
    kind = draw(st.sampled_from(["damaged", "value", "nested", "sequence", "noise", "cut"]))
    if kind == "damaged":
        content = draw(damaged(content))
    elif kind == "value":
        group, number = draw(st.sampled_from([(8, 0x16), (8, 0x18), (0x20, 0xD), (0x20, 0xE)]))
        content = _with_element(content, group, number, draw(_ODD_TEXTS))
    elif kind == "nested":
        content = _nested(draw(st.sampled_from([10, 2_000, 20_000]))) + content
    elif kind == "sequence":
        long = struct.pack("<HH2s2xI", 0x0008, 0x1140, b"SQ", draw(_LENGTHS))
        content = content[:60] + long + content[60:]
    elif kind == "noise":
        content = draw(_SOME_BYTES)
    else:
        content = content[: draw(st.integers(0, len(content)))]
    return replace(item, data_set=content)


def _with_element(content: bytes, group: int, number: int, value: bytes) -> bytes:
    """Replace the value of an element with a short length."""
    tag = struct.pack("<HH", group, number)
    start = content.index(tag)
    (length,) = struct.unpack_from("<H", content, start + 6)
    new = element(group, number, content[start + 4 : start + 6], value)
    return content[:start] + new + content[start + 8 + length :]


def _nested(depth: int) -> bytes:
    """Sequences of undefined length inside each other that nobody closes."""
    sequence = struct.pack("<HH2s2xI", 0x0008, 0x1110, b"SQ", 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return element(0x0008, 0x0005, b"CS", b"ISO_IR 100") + (sequence + item) * depth
