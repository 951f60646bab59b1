"""A stand-in for the API server of Kubernetes, as far as modelmill uses it. It is no Kubernetes: nothing is scheduled,
no pod runs, no controller works; a test plays those parts by putting, changing and removing objects.

It answers over HTTP what the real one does: objects by kind, lists by label and field, watches, logs that are followed,
server-side apply, deletion that waits for dependents, reviews of one's own rights, and refusals in Kubernetes' words.
What is sent to it is held against the published models (tests/kubernetes_models.py). It can be away, refuse, and drop
a watch.
"""

import contextlib
from collections.abc import Iterator

from tests.kubernetes_cluster import KINDS, TOKEN, Cluster, Kind, Object
from tests.kubernetes_server import serve

__all__ = ["KINDS", "TOKEN", "TORCH_DISTRIBUTED", "Cluster", "Kind", "Object", "kubernetes"]


@contextlib.contextmanager
def kubernetes() -> Iterator[Cluster]:
    """Run the stand-in while the block lasts, with the namespace `modelmill` and the runtime `torch-distributed`."""
    cluster = Cluster()
    cluster.put("namespaces", {"metadata": {"name": cluster.namespace}})
    cluster.put("clustertrainingruntimes", TORCH_DISTRIBUTED)
    for plural in ("trainjobs", "clustertrainingruntimes"):
        cluster.put("customresourcedefinitions", _definition(plural))
    with serve(cluster):
        yield cluster


def _definition(plural: str) -> Object:
    kind = KINDS[plural]
    names = {"plural": plural, "kind": kind.kind, "singular": kind.kind.lower()}
    version = {"name": kind.api.rpartition("/")[2], "served": True, "storage": True}
    scope = "Namespaced" if kind.namespaced else "Cluster"
    spec = {"group": kind.group, "names": names, "scope": scope, "versions": [version]}
    return {"metadata": {"name": f"{plural}.{kind.group}"}, "spec": spec}


# As kubeflow/trainer installs it (manifests/base/runtimes/torch_distributed.yaml).
TORCH_DISTRIBUTED: Object = {
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {
                                "template": {"spec": {"containers": [{"name": "node", "image": "pytorch/pytorch"}]}}
                            },
                        },
                    }
                ]
            }
        },
    },
}
