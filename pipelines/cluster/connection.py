"""One way to ask a Kubeflow Pipelines server: who asks, how long it may be away, and what its refusals mean.

It uses the API classes of `kfp_server_api`, on which `kfp.Client` stands, and not that class itself, which writes links
to standard output, takes host and namespace from files of the machine, and logs tracebacks while it tries again.
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from modelmill.errors import ModelmillError, UserError
from modelmill.profile import Profile

T = TypeVar("T")

OLDEST = (2, 15)
"""The oldest server that is asked: before it, an `optional` secret of a profile would keep its steps from starting."""
ORPHANS = (2, 16)
"""Since then a recurring run can be deleted without the runs that it has started."""
_TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two bytes of an answer."""
_PATIENCE = 120.0
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between two tries; the last one is repeated."""
_BUSY = frozenset({429, 502, 503, 504})


class Lost(ModelmillError):  # noqa: N818 - it is what became of an answer
    """No answer came, so that nobody knows whether the server did what it was asked."""


class Refused(ModelmillError):  # noqa: N818 - it is an answer
    """The server said no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WrongInput(UserError):  # noqa: N818 - it is an answer
    """The server said no to what a profile or a command line says: host, token, namespace."""


@dataclass(kw_only=True)
class Connection:
    """The server of a profile. Nothing is asked before the first call."""

    profile: Profile
    patience: float = _PATIENCE
    """Seconds for which the server may be away in the middle of a call."""
    sleep: Callable[[float], None] = time.sleep
    on_away: Callable[[str], None] = lambda _: None
    """Told once each time that the server is away, and with '' when it is back."""
    _away: bool = field(default=False, repr=False)

    @property
    def host(self) -> str:
        """Return where the server is, for people."""
        return self.profile.kfp.host.rstrip("/")

    @property
    def namespace(self) -> str:
        """Return where runs belong."""
        return self.profile.kfp.namespace

    @cached_property
    def client(self) -> Any:
        """The HTTP client, with the token that the profile's variable holds.

        Raises:
            UserError: the profile names a file of certificates that is not there.
        """
        import kfp_server_api
        import urllib3

        kfp = self.profile.kfp
        configuration = kfp_server_api.Configuration()
        configuration.host = self.host
        # Tries are counted here; a redirect is a login page, which a token is not carried to.
        configuration.retries = urllib3.Retry(total=0, raise_on_redirect=False)
        if kfp.ca_file is not None:
            path = Path(kfp.ca_file).expanduser()
            if not path.is_file():
                raise UserError(f"kfp.ca_file: there is no file {path}; correct the profile, or leave it out")
            configuration.ssl_ca_cert = str(path)
        if token := os.environ.get(kfp.token_variable, "").strip():
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
        return kfp_server_api.ApiClient(configuration)

    def api(self, service: str) -> Any:
        """Return the published class of a service: Run, RecurringRun, Pipeline, PipelineUpload, Experiment, Healthz."""
        import kfp_server_api

        return getattr(kfp_server_api, f"{service}ServiceApi")(self.client)

    def read(self, doing: str, ask: Callable[..., T], *arguments: Any, **known: Any) -> T:
        """Ask what changes nothing, again and again while the server is away.

        Raises:
            ModelmillError: it is away for longer than `patience`.
            WrongInput, Refused: it says no.
        """
        deadline, pauses = time.monotonic() + self.patience, iter(_PAUSES)
        while True:
            try:
                value = self.act(doing, ask, *arguments, **known)
            except Lost as lost:
                if time.monotonic() >= deadline:
                    raise ModelmillError(str(lost)) from lost
                self._say(str(lost))
                self.sleep(next(pauses, _PAUSES[-1]))
                continue
            self._say("")
            return value

    def act(self, doing: str, ask: Callable[..., T], *arguments: Any, **known: Any) -> T:
        """Ask once.

        Raises:
            Lost: no answer came, whatever the server did.
            WrongInput, Refused: it says no.
        """
        import kfp_server_api
        import urllib3

        try:
            return ask(*arguments, **known, _request_timeout=_TIMEOUT)
        except kfp_server_api.ApiException as error:
            raise self._answered(doing, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(doing, error) from None
        except (ValueError, AttributeError, TypeError) as error:
            # The published client reads whatever came as JSON of its own models.
            raise WrongInput(
                f"{self.host}: answered {doing} with something that is not of Kubeflow Pipelines' API "
                f"({type(error).__name__}); correct kfp.host of profile {self.profile.name}"
            ) from None

    def _say(self, what: str) -> None:
        if self._away != bool(what):
            self._away = bool(what)
            self.on_away(what)

    def _answered(self, doing: str, error: Any) -> ModelmillError:
        status, said = error.status, _message(error.body)
        place, variable = f"{self.host}: {doing}", self.profile.kfp.token_variable
        if status in _BUSY:
            return Lost(f"{place}: the server answered {status} ({said}); run again when it is well")
        if status == 401 or 300 <= status < 400:
            held = "the one in it was refused" if os.environ.get(variable) else "it is not set"
            return WrongInput(f"{place}: not signed in ({status}); put a bearer token into {variable}: {held}")
        if status == 403:
            return WrongInput(
                f"{place}: no rights in namespace {self.namespace} (403: {said}); have its owner add you, or name "
                f"another as kfp.namespace of profile {self.profile.name}"
            )
        return Refused(f"{place}: the server answered {status}: {said}", status)

    def _unreachable(self, doing: str, error: Exception) -> ModelmillError:
        reason = getattr(error, "reason", None) or error
        if "SSL" in type(reason).__name__ or "certificate" in str(reason).lower():
            return WrongInput(
                f"{self.host}: {doing}: its certificate is not trusted; name the file of its authority as kfp.ca_file "
                f"of profile {self.profile.name}"
            )
        return Lost(
            f"{self.host}: {doing}: the server cannot be reached ({_kind(reason)}); check kfp.host of profile "
            f"{self.profile.name}, the network, or a port-forward"
        )


@dataclass(frozen=True, kw_only=True)
class Health:
    """What a server says of itself."""

    version: tuple[int, ...]
    """Such as (2, 17, 0); () where it does not know its own."""
    multi_user: bool

    @property
    def shown(self) -> str:
        """Return the version for people."""
        return ".".join(map(str, self.version)) or "of unknown version"


def check_health(connection: Connection) -> Health:
    """Return what the server says of itself, asked without patience: a wrong host is known at once.

    Raises:
        ModelmillError: it cannot be reached.
        UserError: it is too old, or nothing of Kubeflow Pipelines.
    """
    raw = connection.act(
        "its health",
        connection.client.call_api,
        "/apis/v2beta1/healthz",
        "GET",
        auth_settings=["Bearer"],
        _return_http_data_only=True,
        _preload_content=False,
    )
    if raw.status != 200:
        import kfp_server_api

        raise connection._answered("its health", kfp_server_api.ApiException(http_resp=_Body(raw)))
    try:
        told = json.loads(raw.data)
        multi_user, tag = bool(told.get("multi_user")), str(told.get("tag_name", ""))
    except (ValueError, AttributeError):
        raise WrongInput(
            f"{connection.host}: something answers there that is not Kubeflow Pipelines' API; correct kfp.host of "
            f"profile {connection.profile.name} (the API is at port 8888 of service ml-pipeline)"
        ) from None
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", tag)
    version = tuple(int(part) for part in found.groups() if part is not None) if found else ()
    if version and version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise UserError(f"{connection.host}: Kubeflow Pipelines {tag} is too old; {wanted} or later is needed")
    return Health(version=version, multi_user=multi_user)


class _Body:
    """An answer of urllib3 as `ApiException` wants it."""

    def __init__(self, raw: Any) -> None:
        self.status, self.reason, self.data = raw.status, raw.reason, raw.data

    def getheaders(self) -> dict[str, str]:
        """Return none: nobody reads them."""
        return {}


def _message(body: Any) -> str:
    """Return the sentence of an error's answer, of which Kubeflow Pipelines says everything twice."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        told = json.loads(text)
        text = told.get("message") or told.get("error_message") or text
    except (ValueError, AttributeError):
        text = "a page and no message" if "<html" in text.lower() else text
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]} …"


def _kind(reason: Any) -> str:
    """Return what a broken connection is, without addresses of objects."""
    cause = getattr(reason, "__cause__", None) or reason
    said = re.sub(r"^<[^>]*>: |^[A-Za-z]*Connection\([^)]*\): ", "", str(cause))
    return said if said and len(said) < 120 else type(cause).__name__
