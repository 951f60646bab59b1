"""Kubernetes' API as far as a waiting step needs it: plain objects in and out, and failures in words."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from modelmill import kubeconfig
from modelmill.errors import ModelmillError

Object = dict[str, Any]

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
MANAGER = "modelmill.io/step"
"""Who applies, as server-side apply and a runtime's patches name it."""
# The release whose API this is written against, and whose manifests a person is told to install.
TRAINER_RELEASE = "v2.3.0"
_MANIFESTS = "https://github.com/kubeflow/trainer.git/manifests/overlays"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# To connect, and between two pieces of an answer.
_TIMEOUTS = (5.0, 30.0)
# A log's next line may be long in coming; a stream that stays silent is opened again.
_LOG_TIMEOUTS = (5.0, 120.0)
_PLACES = {"pods": "/api/v1", "events": "/api/v1", "trainjobs": f"/apis/{GROUP}/{VERSION}"}


class Away(ModelmillError):  # noqa: N818 - it is where the server is
    """The API server does not answer, or is too busy to."""


class Refused(ModelmillError):  # noqa: N818 - it is what was done
    """The API server answered with a refusal."""

    def __init__(self, message: str, *, code: int, said: str) -> None:
        super().__init__(message)
        self.code = code
        self.said = said
        """In the server's own words."""


def install(what: str) -> str:
    """Return the command that installs a part of Kubeflow Trainer: `manager` or `runtimes`."""
    return f'kubectl apply --server-side -k "{_MANIFESTS}/{what}?ref={TRAINER_RELEASE}"'


@dataclass(frozen=True, kw_only=True)
class Api:
    """The objects of one namespace, for the account of whoever asks."""

    client: Any
    """An ApiClient of the package kubernetes."""
    namespace: str

    @classmethod
    def connect(cls) -> "Api":
        """Return the API as a pod of the cluster reaches it, or as KUBECONFIG says.

        Raises:
            ModelmillError: there is neither, or it cannot be read.
        """
        try:
            made = kubeconfig.client()
        except ModelmillError as error:
            raise ModelmillError(
                f"Kubernetes cannot be asked for nodes: {error}; a kind with several nodes trains in a cluster"
            ) from error
        named = os.environ.get("MODELMILL_NAMESPACE")
        read = _NAMESPACE_FILE.read_text().strip() if not named and _NAMESPACE_FILE.is_file() else ""
        return cls(client=made, namespace=named or read or "default")

    def get(self, plural: str, name: str) -> Object | None:
        """Return an object, or None where there is none of that name.

        Raises:
            Away: the server does not answer.
            Refused: it does not answer this.
        """
        try:
            return self._object("GET", self._path(plural, name))
        except Refused as refusal:
            if refusal.code == 404 and _is_status(refusal.said):
                return None
            raise

    def find(self, plural: str, **selectors: str) -> list[Object]:
        """Return the objects of a kind; `labelSelector` and `fieldSelector` choose among them.

        Raises:
            Away, Refused: as get.
        """
        found = self._object("GET", self._path(plural), query=list(selectors.items()))
        return list(found.get("items") or [])

    def apply(self, plural: str, body: Mapping[str, Any]) -> Object:
        """Make an object, or make the one of its name so, by server-side apply.

        Raises:
            Away, Refused: as get.
        """
        query = [("fieldManager", MANAGER), ("force", "true")]
        path = self._path(plural, body["metadata"]["name"])
        return self._object("PATCH", path, query=query, body=dict(body), sort="application/apply-patch+yaml")

    def delete(self, plural: str, name: str) -> None:
        """Delete an object once all that it made is gone; what is not there need not be deleted.

        Raises:
            Away, Refused: as get.
        """
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        try:
            self._object("DELETE", self._path(plural, name), body=body)
        except Refused as refusal:
            if refusal.code != 404:
                raise

    def tail(self, pod: str, container: str, lines: int) -> list[str]:
        """Return the last lines of a container's log; none where it has none yet.

        Raises:
            Away: the server does not answer.
        """
        query = [("container", container), ("tailLines", str(lines))]
        try:
            with self._log(pod, query) as answer:
                return bytes(answer.data).decode(errors="replace").splitlines()
        except Refused:
            return []

    @contextmanager
    def follow(self, pod: str, container: str, since: str = "") -> Iterator[Any]:
        """Give a container's log as a stream whose lines begin with their time, from a time on.

        Raises:
            Away, Refused: as get; a container that has not started yet has no log.
        """
        query = [("container", container), ("follow", "true"), ("timestamps", "true")]
        with self._log(pod, [*query, *([("sinceTime", since)] if since else [])]) as answer:
            yield answer

    def _path(self, plural: str, name: str = "") -> str:
        path = f"{_PLACES[plural]}/namespaces/{self.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    @contextmanager
    def _log(self, pod: str, query: list[tuple[str, str]]) -> Iterator[Any]:
        answer = self._call("GET", f"{self._path('pods', pod)}/log", query=query, timeouts=_LOG_TIMEOUTS)
        try:
            yield answer
        finally:
            answer.close()

    def _object(self, method: str, path: str, **asked: Any) -> Object:
        made: Object = json.loads(self._call(method, path, **asked).data)
        return made

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
        sort: str = "application/json",
        timeouts: tuple[float, float] = _TIMEOUTS,
    ) -> Any:
        """Send one request; return the answer, of a log before its body has come.

        The package's own way reads the whole body of an answer, or cannot say why it was refused.
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "*/*", "Content-Type": sort}
        self.client.update_params_for_auth(headers, [], ["BearerToken"])
        url = f"{self.client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self.client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=Timeout(connect=timeouts[0], read=timeouts[1]),
                retries=False,
                preload_content=timeouts is not _LOG_TIMEOUTS,
            )
            if 200 <= answer.status < 300:
                return answer
            said = answer.data.decode(errors="replace")
        except (HTTPError, OSError) as error:
            raise Away(f"Kubernetes' API server does not answer: {error}") from error
        raise _failure(method, path, answer.status, said)


def _failure(method: str, path: str, code: int, said: str) -> ModelmillError:
    """Return what a refusal means."""
    words = _words(said)
    if code == 429 or code >= 500:
        return Away(f"Kubernetes' API server does not answer: {code} {words}")
    message = f"Kubernetes refuses {method} {path}: {code} {words}"
    if code == 404 and not _is_status(said) and GROUP in path:
        message = f"Kubeflow Trainer is not installed in this cluster; {install('manager')}"
    elif code == 403 and "cannot" in words and "is forbidden" in words:
        way_out = "the role of charts/modelmill gives the steps' service account the right, with trainer.enabled"
        message = f"Kubernetes does not allow it: {words}; {way_out}"
    elif code == 401:
        way_out = "it does not take the token of this pod's service account; is automountServiceAccountToken off?"
        message = f"Kubernetes does not know this step: {words}; {way_out}"
    return Refused(message, code=code, said=said)


def _words(said: str) -> str:
    """Return the message of an answer, without the object around it."""
    try:
        return str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(said.split())[:500]


def _is_status(said: str) -> bool:
    """Return whether an answer is one of the API's own; an address that nothing serves gets a line of text."""
    try:
        return bool(json.loads(said).get("kind") == "Status")
    except (ValueError, AttributeError):
        return False
