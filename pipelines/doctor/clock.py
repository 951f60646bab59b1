"""How far this machine's clock is from the servers': signatures and tokens hold for minutes only."""

import email.utils
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from pipelines.doctor.finding import Doctor, Seen

GROUP = "clock"
# S3 refuses requests that are 15 minutes off, and tokens count seconds: what is beyond half a minute grows.
MOST_SECONDS = 30.0
_SECONDS = 10


def look_at_clocks(doctor: Doctor, servers: Mapping[str, str]) -> None:
    """Compare this machine's clock with the `Date` of answers, by name and address of the servers."""
    for name, address in servers.items():
        if name not in doctor.stopped:
            doctor.look(GROUP, name, partial(_skew, address), "timedatectl set-ntp true  # on both machines")


def _skew(address: str) -> Seen:
    began = time.time()
    date = _date(address)
    middle = (began + time.time()) / 2
    if date is None:
        return Seen(saw=f"{_root(address)} sends no date", outcome="unknown")
    apart = date - middle
    # A date has whole seconds.
    if abs(apart) <= MOST_SECONDS:
        return Seen(saw=f"within {max(1, round(abs(apart)))} s")
    way = "ahead of" if apart > 0 else "behind"
    return Seen(
        saw=f"its clock is {abs(apart):.0f} s {way} this machine's; {MOST_SECONDS:g} s are borne", outcome="warned"
    )


def _root(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _date(address: str) -> float | None:
    request = urllib.request.Request(_root(address), method="HEAD")  # noqa: S310 - http(s), as the profile's schema says
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            said = answer.headers.get("Date")
    except urllib.error.HTTPError as refusal:
        # A refusal has the time of day, too.
        said = refusal.headers.get("Date")
    except (OSError, ValueError):
        return None
    return email.utils.parsedate_to_datetime(said).timestamp() if said else None
