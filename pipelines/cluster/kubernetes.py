"""How this machine reaches a cluster's Kubernetes API: by the kubeconfig, or by the service account of this pod."""

import os
from typing import Any


def connect() -> Any:
    """Return a client.

    Raises:
        kubernetes.config.ConfigException: there is neither.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        # Read here: the package has read the variable when it was imported.
        config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except config.ConfigException:
        config.load_incluster_config(client_configuration=configuration)
    configuration.retries = 0
    return client.ApiClient(configuration)
