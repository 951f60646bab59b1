"""Whether the images of a profile can be pulled, asked of their registry without any password."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message

from modelmill.errors import ModelmillError
from modelmill.images import image
from modelmill.profile import Profile
from pipelines.doctor.finding import Doctor, Seen

GROUP = "images"
_SECONDS = 20
# OCI distribution specification 1.1, and Docker's media types before it.
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_NEAR = ("localhost", "127.0.0.1", "[::1]")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Name:
    """An image's name, taken apart."""

    host: str
    path: str
    reference: str
    """Tag or digest."""

    @classmethod
    def of(cls, name: str) -> "Name":
        """Take a name apart as Docker does."""
        rest, _, digest = name.partition("@")
        head, _, tail = rest.partition("/")
        # The first part is a host where it could be nothing else.
        host, path = (head, tail) if tail and (re.search(r"[.:]", head) or head == "localhost") else ("docker.io", rest)
        path, colon, tag = path.rpartition(":") if ":" in path else (path, "", "")
        path = path if colon or not tag else tag
        if host == "docker.io":
            host, path = "registry-1.docker.io", path if "/" in path else f"library/{path}"
        return cls(host=host, path=path, reference=digest or tag or "latest")

    @property
    def address(self) -> str:
        """Of its manifest in the registry's API."""
        scheme = "http" if self.host.rpartition(":")[0] in _NEAR else "https"
        return f"{scheme}://{self.host}/v2/{self.path}/manifests/{self.reference}"


def image_names(profile: Profile) -> dict[str, str]:
    """Return the images of a profile by kind."""
    made = {kind: f"{profile.registry}/{image(kind).rpartition('/')[2]}" for kind in ("data", "train")}
    return {kind: getattr(profile.images, kind) or name for kind, name in made.items()}


def look_at_images(doctor: Doctor, profile: Profile) -> None:
    """Ask the registry for each image's manifest."""
    for kind, name in image_names(profile).items():
        mend = f"make images && docker push {name}  # or name a pinned one as images.{kind} of profile {profile.name}"
        doctor.look(GROUP, kind, lambda name=name: _manifest(name, bool(profile.image_pull_secrets)), mend)  # type: ignore[misc]


def _manifest(name: str, has_login: bool) -> Seen:
    asked = Name.of(name)
    if asked.host == "localhost":
        return Seen(saw=f"{name}: localhost is no registry; each node must hold the image itself", outcome="unknown")
    try:
        status, headers = _head(asked.address, None)
    except ModelmillError as error:
        away = f"curl -sI {asked.address.partition('/v2/')[0]}/v2/  # is it up, and is `registry` of the profile right?"
        return Seen(saw=str(error), outcome="missing", mend=away)
    if status == 401 and (token := _anonymous(headers)):
        status, headers = _head(asked.address, token)
    if status == 200:
        digest = headers.get("Docker-Content-Digest", "")
        return Seen(saw=f"{name}{f' is {digest[:19]}…' if digest and '@' not in name else ''}")
    if status in (401, 403):
        if has_login:
            return Seen(
                saw=f"{name}: needs a login, which the pull secret is for and is not read here", outcome="unknown"
            )
        return Seen(
            saw=f"{name}: needs a login, and the profile names no image_pull_secrets",
            outcome="missing",
            mend=f"kubectl create secret docker-registry registry --docker-server={asked.host} --docker-username=… "
            "--docker-password=…  # in the runs' namespace; then image_pull_secrets: [registry]",
        )
    if status == 404:
        raise ModelmillError(f"{name}: the registry has no such image")
    raise ModelmillError(f"{name}: the registry answered {status}")


def _head(address: str, token: str | None) -> tuple[int, Message]:
    headers = {"Accept": _ACCEPT, **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(address, method="HEAD", headers=headers)  # noqa: S310 - https, or this machine
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return answer.status, answer.headers
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelmillError(f"{urllib.parse.urlsplit(address).netloc}: cannot be reached ({reason})") from error


def _anonymous(headers: Message) -> str | None:
    """Return the token that a registry gives to anyone, if it does (distribution's token authentication)."""
    said = headers.get("WWW-Authenticate", "")
    if not said.lower().startswith("bearer "):
        return None
    told = dict(_CHALLENGE.findall(said))
    realm = told.pop("realm", "")
    near = (urllib.parse.urlsplit(realm).hostname or "") in ("localhost", "127.0.0.1", "::1")
    if not realm.startswith("https://") and not (realm.startswith("http://") and near):
        return None
    query = urllib.parse.urlencode({key: told[key] for key in ("service", "scope") if key in told})
    try:
        with urllib.request.urlopen(f"{realm}?{query}", timeout=_SECONDS) as answer:  # noqa: S310
            given = json.loads(answer.read(1 << 20))
    except (OSError, ValueError):
        return None
    token = given.get("token") or given.get("access_token") if isinstance(given, dict) else None
    return str(token) if token else None
