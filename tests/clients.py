"""clients.py HOST PORT FOLDER [starttls]

Sends every message of a folder over one connection with the smtplib of the standard library.

NAME.eml is sent as it is. NAME.env says how: the sender, the options of MAIL, the recipients, one a
line. Anything but a plain success ends this with a traceback, and the test with it.
"""

import pathlib
import smtplib
import ssl
import sys

host, port, folder, *tls = sys.argv[1:]

with smtplib.SMTP(host, int(port), local_hostname="client.test") as smtp:
    if tls == ["starttls"]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        smtp.starttls(context=context)
    for message in sorted(pathlib.Path(folder).glob("*.eml")):
        envelope = message.with_suffix(".env").read_text("utf-8").splitlines()
        sender, options, *recipients = envelope
        content = message.read_bytes()
        refused = smtp.sendmail(sender, recipients, content, mail_options=options.split())
        assert not refused, refused
