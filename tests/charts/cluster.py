"""A stand-in for Kubernetes' API server, as far as helm asks it for a Secret that is there. It is no cluster.

It says which kinds there are, answers with the Secrets that a test gives it, and knows no other object; whatever would
change something is refused. The Secrets are held against Kubernetes' own schema before they are given out.
"""

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.kubernetes_models import VERSION, check

_KINDS = {
    "": ("ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
    "apps": ("Deployment", "StatefulSet"),
    "batch": ("CronJob", "Job"),
    "networking.k8s.io": ("NetworkPolicy",),
    "rbac.authorization.k8s.io": ("Role", "RoleBinding"),
}


def _plural(kind: str) -> str:
    return f"{kind.lower().removesuffix('y')}ies" if kind.endswith("y") else f"{kind.lower()}s"


def _resources(group: str) -> dict[str, Any]:
    told = [
        {"name": _plural(kind), "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get"]}
        for kind in _KINDS[group]
    ]
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": told}


def _groups() -> dict[str, Any]:
    versions = {group: {"groupVersion": f"{group}/v1", "version": "v1"} for group in _KINDS if group}
    groups = [{"name": name, "versions": [one], "preferredVersion": one} for name, one in versions.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


@contextlib.contextmanager
def cluster(folder: Path, secrets: list[dict[str, Any]]) -> Iterator[Path]:
    """Answer for a cluster that has these Secrets and nothing else; yield the file that tells helm of it."""
    minor = VERSION.split(".")[1]
    there: dict[str, Any] = {
        "/version": {"major": "1", "minor": minor, "gitVersion": f"v{VERSION}.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": _groups(),
        "/api/v1": _resources(""),
        **{f"/apis/{group}/v1": _resources(group) for group in _KINDS if group},
    }
    for secret in secrets:
        check(secret)
        said = secret["metadata"]
        there[f"/api/v1/namespaces/{said['namespace']}/secrets/{said['name']}"] = secret

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            found = there.get(self.path.split("?")[0])
            body = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "stand-in",
            "clusters": [{"name": "stand-in", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "stand-in"}}],
            "users": [{"name": "stand-in", "user": {}}],
        }  # fmt: skip
        told = folder / "stand-in.json"
        told.write_text(json.dumps(config))
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
