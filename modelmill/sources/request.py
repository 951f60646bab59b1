"""One request over HTTP: redirects, proxies, credentials, what an answer means, and when to try again.

Proxies are the environment's (HTTPS_PROXY, NO_PROXY), certificates the system's or those of SSL_CERT_FILE, and
credentials those of ~/.netrc or the file that NETRC names. No message shows them, nor the query of an address.
"""

import netrc
import os
import ssl
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.stream import shown

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

Result = TypeVar("Result")

# Failures in a row, with no byte between them, before it is given up: 0.2 to 1.6 s of waiting each.
_ATTEMPTS = 5
# The longest that a server may ask to wait, in seconds.
_LONGEST_WAIT = 30
# As many as browsers follow (https://fetch.spec.whatwg.org/#http-redirect-fetch).
_REDIRECTS = 20
# Seconds for a connection, and between two pieces of an answer.
_CONNECT, _READ = 10, 60
_MOVED = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429}
_ABSENT = {404, 410}
_REFUSED = {401, 403, 407}


class Broken(Exception):  # noqa: N818 - it is a try that may be repeated, and not an error yet
    """A try failed, and another may not."""

    def __init__(self, why: str, wait: float = 0) -> None:
        super().__init__(why)
        self.wait = wait
        """Seconds that the server asks to wait."""


def persist(uri: str, action: Callable[[], Result]) -> Result:
    """Return what an action returns, trying again when it raises Broken.

    Raises:
        ModelmillError: it broke every time.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return action()
        except Broken as broken:
            if attempt == _ATTEMPTS - 1:
                message = f"{shown(uri)}: {broken}, {_ATTEMPTS} times; check the address and the network, and run again"
                raise ModelmillError(message) from broken
            time.sleep(max(min(broken.wait, _LONGEST_WAIT), 0.2 * 2**attempt))
    raise AssertionError("every attempt returns or raises")


def send(
    uri: str, method: str, url: str, headers: Mapping[str, str], authorization: str | None = None
) -> "BaseHTTPResponse":
    """Return the answer at the end of the redirects, with its body not yet read; the caller closes it.

    `uri` is the source's name in messages. `authorization` goes to the URL's own host only.

    Raises:
        Broken: no answer came, or one that says that a later try may do better.
        UserError: the address is wrong, access is refused, or it leads from https to http.
        ModelmillError: the server cannot be trusted, or answers that it cannot.
    """
    place = url
    for _ in range(_REDIRECTS + 1):
        own = authorization if _host(place) == _host(url) else None
        response = _once(uri, method, place, dict(headers), own)
        if response.status not in _MOVED or "Location" not in response.headers:
            return _judged(response)
        response.close()
        after = urljoin(place, response.headers["Location"])
        _check_redirect(uri, place, after)
        place = after
    raise UserError(f"{shown(uri)}: more than {_REDIRECTS} redirects; correct the address")


def refused(uri: str, status: int) -> ModelmillError:
    """Return the error for an answer that gives no content."""
    if status in _ABSENT:
        return UserError(f"{shown(uri)}: no such file (the server answers {status}); correct the address")
    if status in _REFUSED:
        return UserError(f"{shown(uri)}: access refused (the server answers {status}); put its credentials in ~/.netrc")
    return ModelmillError(f"{shown(uri)}: the server answers {status}; check the address, or ask who runs the server")


def explained(uri: str, error: Exception) -> Exception:
    """Return what a failed connection means: Broken, or an error if another try cannot help."""
    from urllib3 import exceptions

    name = type(error).__name__
    if isinstance(error, exceptions.ProxyError):
        return Broken(f"the proxy cannot be reached ({type(error.original_error).__name__})")
    if isinstance(error, exceptions.NameResolutionError):
        return Broken("the name of its host is not known")
    if isinstance(error, exceptions.SSLError):
        return _untrusted(uri, error)
    if isinstance(error, exceptions.TimeoutError):
        # A refused connection counts among them, for urllib3.
        refuses = isinstance(error, exceptions.NewConnectionError)
        return Broken("no connection" if refuses else "no answer in time")
    if isinstance(error, exceptions.LocationValueError):
        return UserError(f"{shown(uri)}: not an address that can be asked ({name}); correct it, or the proxy's")
    return Broken(f"the connection broke off ({name})")


def _once(uri: str, method: str, url: str, headers: dict[str, str], authorization: str | None) -> "BaseHTTPResponse":
    from urllib3 import Timeout, make_headers
    from urllib3.exceptions import HTTPError

    # Content as it lies there: what is packed on the way has another length, and no ranges.
    headers |= {"Accept-Encoding": "identity", "User-Agent": "modelmill"}
    if authorization is None and (known := _from_netrc(urlsplit(url).hostname or "")):
        authorization = make_headers(basic_auth=known)["authorization"]
    if authorization is not None:
        headers["Authorization"] = authorization
    timeout = Timeout(connect=_CONNECT, read=_READ)
    try:
        pools = _pools(os.getpid(), _proxy(url))
        return pools.request(
            method, url, headers=headers, timeout=timeout, preload_content=False, redirect=False, retries=False
        )
    except HTTPError as error:
        raise explained(uri, error) from error


@lru_cache(maxsize=8)
def _pools(_process: int, proxy: str) -> "PoolManager":
    # Connections are kept for the next file, but not shared with a forked child.
    from urllib3 import PoolManager, ProxyManager, make_headers
    from urllib3.util import parse_url

    if not proxy:
        return PoolManager()
    credentials = parse_url(proxy).auth
    return ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=credentials) if credentials else None)


def _proxy(url: str) -> str:
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _from_netrc(host: str) -> str | None:
    """Return 'user:password' for a host, or nothing."""
    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        known = netrc.netrc(file).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        # Without it the server says whether it was needed.
        return None
    return f"{known[0]}:{known[2]}" if known else None


def _judged(response: "BaseHTTPResponse") -> "BaseHTTPResponse":
    # 501 is for good: it does not know how.
    if response.status not in _AGAIN and (response.status < 500 or response.status == 501):
        return response
    response.close()
    wait = response.headers.get("Retry-After", "")
    raise Broken(f"the server answers {response.status}", float(wait) if wait.isascii() and wait.isdigit() else 0)


def _check_redirect(uri: str, before: str, after: str) -> None:
    old, new = urlsplit(before), urlsplit(after)
    if new.scheme not in {"http", "https"} or not new.hostname:
        raise UserError(f"{shown(uri)}: redirects to {new.scheme}://…, which is not the web; correct the address")
    if old.scheme == "https" and new.scheme == "http":
        raise UserError(
            f"{shown(uri)}: redirects from https to http, at {new.hostname}, where anyone on the way could change it; "
            "name that address yourself if you trust it"
        )


def _untrusted(uri: str, error: Exception) -> Exception:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ModelmillError(
            f"{shown(uri)}: the server's certificate is not trusted ({cause.verify_message}); correct the address, or "
            "name the certificates of your own authority in SSL_CERT_FILE"
        )
    return Broken("no secure connection (TLS failed)")


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
