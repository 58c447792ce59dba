"""Stata files byte by byte (release 118), so that they can say more than they hold."""

import struct

REFERENCE, BYTE = 32768, 65530  # types of variables


def reference(variable, person):
    """What stands in place of a long text."""
    return struct.pack("<H", variable) + struct.pack("<Q", person)[:6]


def long_text(variable, person, content, length=None):
    """A long text; `length`: what it says of itself."""
    length = len(content) + 1 if length is None else length
    return b"GSO" + struct.pack("<IQBI", variable, person, 130, length) + content + b"\0"


def write_stata(path, people, rows, kinds=(BYTE,), texts=b""):
    """`people`: what the header says; `rows`: the answers, as bytes."""
    count = len(kinds)
    head = (
        b"<stata_dta><header><release>118</release><byteorder>LSF</byteorder>"
        b"<K>" + struct.pack("<H", count) + b"</K><N>" + struct.pack("<Q", people) + b"</N>"
        b"<label>\0\0</label><timestamp>\0</timestamp></header>"
    )
    parts = {
        "variable_types": struct.pack(f"<{count}H", *kinds),
        "varnames": b"".join((b"q%d" % j).ljust(129, b"\0") for j in range(count)),
        "sortlist": bytes(2 * (count + 1)),
        "formats": b"".join((b"%9s" if k == REFERENCE else b"%9.0g").ljust(57, b"\0")
                            for k in kinds),
        "value_label_names": bytes(129 * count), "variable_labels": bytes(321 * count),
        "characteristics": b"", "data": rows, "strls": texts, "value_labels": b"",
    }  # fmt: skip
    at = len(head) + len(b"<map></map>") + 14 * 8
    places, body = [0, len(head)], b""
    for name, content in parts.items():
        places.append(at + len(body))
        body += b"<%b>%b</%b>" % (name.encode(), content, name.encode())
    places += [at + len(body), at + len(body) + len(b"</stata_dta>")]
    path.write_bytes(
        head + b"<map>" + struct.pack("<14Q", *places) + b"</map>" + body + b"</stata_dta>"
    )
    return path
