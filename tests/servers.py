"""A server of the aiosmtpd library that keeps what it gets: NNNNNN.eml with NNNNNN.env, whose lines
are the sender, the options of MAIL, then the recipients. Prints its port, and serves until it is
killed.
"""

import asyncio
import pathlib
import sys

from aiosmtpd.smtp import SMTP

folder = pathlib.Path(sys.argv[1])


class Keeper:
    last = 0

    async def handle_DATA(self, server, session, envelope):
        Keeper.last += 1
        place = folder / f"{Keeper.last:06}"
        lines = [envelope.mail_from, " ".join(envelope.mail_options), *envelope.rcpt_tos]
        place.with_suffix(".env").write_text("\n".join(lines) + "\n", "utf-8")
        part = place.with_suffix(".part")
        part.write_bytes(envelope.original_content)
        # Whoever waits for the message finds both files whole.
        part.rename(place.with_suffix(".eml"))
        return "250 2.0.0 kept"


async def serve():
    def session():
        return SMTP(Keeper(), enable_SMTPUTF8=True, decode_data=False)

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
