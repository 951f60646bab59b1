"""How a process reaches a cluster's Kubernetes API: by a kubeconfig, or by the service account of its pod."""

import os
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError


class NoCluster(ModelmillError):  # noqa: N818 - it is what is not there
    """Nobody has told this process of a cluster."""


def client() -> Any:
    """Return an `ApiClient` of the package `kubernetes`, which asks once: patience is the caller's.

    `KUBECONFIG` comes first, then `~/.kube/config`, then the pod's own account.

    Raises:
        NoCluster: there is none of them.
        ModelmillError: what is there cannot be read.
    """
    from kubernetes import client as api
    from kubernetes import config

    # Read here: the package has read the variable when it was imported.
    named = os.environ.get("KUBECONFIG")
    file = Path(named.split(os.pathsep)[0] if named else "~/.kube/config").expanduser()
    configuration = api.Configuration()
    configuration.retries = False
    try:
        if file.is_file():
            config.load_kube_config(named or str(file), client_configuration=configuration)
        elif os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=configuration)
        else:
            raise NoCluster(f"no {file}: nobody here is known to a cluster (set KUBECONFIG)")
        return api.ApiClient(configuration)
    except ModelmillError:
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        # A file of whatever form is read without a schema: what it lacks comes as errors of any kind.
        raise ModelmillError(
            f"{file}: no configuration of kubectl's: {why} (`kubectl config view` reads it)"
        ) from error
