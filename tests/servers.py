"""A server of the aiosmtpd library that keeps what it gets: NNNNNN.eml with NNNNNN.env, whose lines
are the sender, the options of MAIL, then the recipients, and NNNNNN.tls, which says how the
connection was encrypted: version, new or resumed, and the name that the client asked for. Prints its port, and serves until it is killed.

servers.py FOLDER [PEM [old|1.2|picky]]: with a file of certificate and key it offers STARTTLS; `old`
makes every handshake fail, for want of a version that others still speak, `1.2` speaks TLS 1.2, and
`picky` wants a certificate of its client, which TLS 1.3 says when the client thinks all is well.
"""

import asyncio
import logging
import pathlib
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP

# A handshake that fails is what some tests want.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore", DeprecationWarning)
folder = pathlib.Path(sys.argv[1])


def certificate():
    if len(sys.argv) < 3:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    context.sni_callback = remember_name
    if sys.argv[3:] == ["old"]:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    if sys.argv[3:] == ["1.2"]:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if sys.argv[3:] == ["picky"]:
        context.load_verify_locations(sys.argv[2])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def remember_name(tls, name, context):
    Keeper.asked_for = name


class Keeper:
    last = 0
    # By the connection that came last: tests come one after the other.
    asked_for = None

    async def handle_DATA(self, server, session, envelope):
        Keeper.last += 1
        place = folder / f"{Keeper.last:06}"
        lines = [envelope.mail_from, " ".join(envelope.mail_options), *envelope.rcpt_tos]
        place.with_suffix(".env").write_text("\n".join(lines) + "\n", "utf-8")
        tls = server.transport.get_extra_info("ssl_object")
        words = "clear"
        if tls is not None:
            session_is = "resumed" if tls.session_reused else "new"
            words = f"{tls.version()} {session_is} {Keeper.asked_for}"
        place.with_suffix(".tls").write_text(words)
        part = place.with_suffix(".part")
        part.write_bytes(envelope.original_content)
        # Whoever waits for the message finds all files whole.
        part.rename(place.with_suffix(".eml"))
        return "250 2.0.0 kept"


async def serve():
    context = certificate()

    def session():
        return SMTP(Keeper(), enable_SMTPUTF8=True, decode_data=False, tls_context=context)

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
