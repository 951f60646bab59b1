"""Tells people what happened, by a webhook, Slack or e-mail; that it could not is a warning and never a failure.

MODELMILL_NOTIFY holds addresses, separated by spaces: `https://host/…` gets a JSON object, `slack+https://…` Slack's
form of it, `smtp://user:password@host:587/?to=a@b&from=c@d` (or `smtps://`) an e-mail. They are secrets: no message
shows more of them than kind and host.
"""

import json
import logging
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from modelmill.registry.history import Entry

log = logging.getLogger(__name__)

NOTIFY_VARIABLE = "MODELMILL_NOTIFY"
Kind = Literal["finished", "failed", "promoted", "rolled back"]
_SECONDS = 10.0
_SMTP_PORT, _SMTPS_PORT = 587, 465
_WANTED = "write https://…, slack+https://… or smtp://host:587/?to=…, several separated by spaces"
# What a failed step says may be pages long.
_TEXT = 3000


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One thing to tell."""

    kind: Kind
    subject: str
    """What it happened to: a recipe's run, or a registered model."""
    text: str
    """One sentence, or a few."""
    facts: Mapping[str, Any]
    """For programs."""


class _Refused(Exception):  # noqa: N818 - it says what became of a message
    """Why a notification was not sent, without anything secret in it."""


def moved(name: str, entry: Entry) -> None:
    """Tell of a move of a registered model's champion."""
    kind: Kind = "rolled back" if entry.action == "rollback" else "promoted"
    came = f" after version {entry.from_version}" if entry.from_version else ""
    why = f": {entry.why}" if entry.why else ""
    forced = " by force" if entry.action == "force" else ""
    text = f"{name}: version {entry.to_version} is champion{came}, {kind}{forced} by {entry.who}{why}"
    notify(Happened(kind=kind, subject=name, text=text, facts={"model": name, **entry.model_dump(mode="json")}))


def notify(happened: Happened) -> list[str]:
    """Send to every address of MODELMILL_NOTIFY; return, and log as warnings, what could not be sent and why."""
    warnings = []
    for address in os.environ.get(NOTIFY_VARIABLE, "").split():
        try:
            _send(address, happened)
        except Exception as error:  # noqa: BLE001 - whatever a notifier does, a promotion does not fail by it
            # Other errors may carry the address in their text.
            said = str(error) if isinstance(error, _Refused) else type(error).__name__
            warnings.append(f"not notified ({happened.kind}): {_shown(address)}: {said}")
    for warning in warnings:
        log.warning("%s", warning)
    return warnings


def _shown(address: str) -> str:
    """Return an address without its secrets: user, password, path and options."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return "an address of MODELMILL_NOTIFY"
    return f"{parts.scheme}://{host}/…" if host and "://" in address else "an address of MODELMILL_NOTIFY"


def _send(address: str, happened: Happened) -> None:
    parts = urlsplit(address)
    if not parts.hostname:
        raise _Refused(f"no address; {_WANTED}")
    if parts.scheme in {"https", "http"}:
        told = {"kind": happened.kind, "subject": happened.subject, "text": happened.text, "facts": happened.facts}
        _post(address, told)
    elif parts.scheme in {"slack+https", "slack+http"}:
        _post(address.removeprefix("slack+"), {"text": _for_slack(happened)})
    elif parts.scheme in {"smtp", "smtps"}:
        _mail(parts, happened)
    else:
        raise _Refused(f"no such kind of notifier; {_WANTED}")


def _for_slack(happened: Happened) -> str:
    # Slack's own escapes: https://docs.slack.dev/messaging/formatting-message-text
    text = happened.text[:_TEXT].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"*{happened.kind}* {text}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook that moves would get the message, and perhaps its secret, somewhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def _post(url: str, value: Mapping[str, Any]) -> None:
    if "@" in urlsplit(url).netloc:
        raise _Refused("a webhook's address carries a user; put the secret into its path, as its maker gives it")
    body = json.dumps(value, ensure_ascii=False, default=str).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "modelmill"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - http(s) alone
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        raise _Refused(f"answered {error.code}") from None
    except urllib.error.URLError as error:
        raise _Refused(f"cannot be reached ({type(error.reason).__name__})") from None


def _mail(parts: SplitResult, happened: Happened) -> None:
    asked = parse_qs(parts.query)
    to = [one for given in asked.get("to", []) for one in given.split(",") if one.strip()]
    if not to:
        raise _Refused("says not to whom; add ?to=name@example.org")
    message = EmailMessage()
    message["Subject"] = " ".join(f"modelmill: {happened.subject} {happened.kind}".split())
    message["From"] = asked.get("from", [to[0]])[0]
    message["To"] = ", ".join(to)
    facts = json.dumps(happened.facts, indent=1, ensure_ascii=False, default=str)
    message.set_content(f"{happened.text[:_TEXT]}\n\n{facts}\n")
    host = parts.hostname or ""
    secure = ssl.create_default_context()
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or _SMTPS_PORT, timeout=_SECONDS, context=secure)
    else:
        server = smtplib.SMTP(host, parts.port or _SMTP_PORT, timeout=_SECONDS)
    with server:
        server.ehlo()
        secured = parts.scheme == "smtps"
        if not secured and server.has_extn("starttls"):
            server.starttls(context=secure)
            server.ehlo()
            secured = True
        if parts.username:
            if not secured:
                raise _Refused("offers no encryption, so the password was not sent; use smtps://")
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)
