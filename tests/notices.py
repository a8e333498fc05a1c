"""Parses every .eml file of a directory as a delivery status notification (RFC 3464) with the
email package of the standard library, and prints what it finds, one fact a line.

The point is a second opinion: what baton composes is read here by a parser that baton has no part
in. A defect that the parser reports is printed too, so that the expected text rules it out.
"""

import pathlib
import sys
from email import policy
from email.parser import BytesParser

PARSER = BytesParser(policy=policy.default)


def as_text(value):
    """A raw header value, unfolded; the parser keeps 8-bit octets as surrogates."""
    octets = value.encode("utf-8", "surrogateescape")
    return octets.decode("utf-8", "replace").replace("\r\n", "").strip()


def fields(label, message):
    for name, value in message.raw_items():
        print(f"{label} {name}: {as_text(value)}")


def defects(message):
    for part in message.walk():
        for defect in part.defects:
            print(f"defect {part.get_content_type()}: {defect!r}")
        for name, value in part.raw_items():
            # Fields in UTF-8 are lawful under RFC 6532, which this parser does not know.
            if as_text(value).isascii():
                for defect in part[name].defects:
                    print(f"defect {name}: {defect!r}")


def blocks(part):
    """The groups of fields of a delivery status: the message's, then one a recipient."""
    if part.get_content_type() == "message/delivery-status":
        return part.get_payload()
    # To the parser message/global-delivery-status is a message with a body; the body is the rest.
    first = part.get_payload()[0]
    rest = first.get_payload(decode=True).strip().split(b"\r\n\r\n")
    return [first] + [PARSER.parsebytes(block) for block in rest]


def show(message):
    defects(message)
    for name, value in message.raw_items():
        if name != "Content-Type":
            print(f"header {name}: {as_text(value)}")
    print("type", message.get_content_type(), message["Content-Type"].params["report-type"])
    for part in message.iter_parts():
        print("part", part.get_content_type(), part["Content-Transfer-Encoding"])
    words, status, returned = message.iter_parts()
    for line in words.get_content().splitlines():
        print(f"words {line}".rstrip())
    for number, block in enumerate(block for block in blocks(status) if len(block)):
        fields("message" if number == 0 else f"recipient-{number}", block)
    if returned.get_content_maintype() == "message":
        inner = returned.get_payload()[0]
    else:
        inner = PARSER.parsebytes(returned.get_payload(decode=True))
    fields("returned", inner)
    body = inner.get_payload(decode=True) or b""
    print("returned-body", body)


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.eml")):
    print(f"== {path.stem}")
    show(PARSER.parsebytes(path.read_bytes()))
