"""The TrainJobs of a run, which a step that was killed before it could has left behind."""

from modelmill import kubeconfig
from modelmill.trainjob.client import Api, Refused
from modelmill.trainjob.spec import RUN_LABEL


def delete_trainjobs(namespace: str, run: str) -> list[str]:
    """Delete the TrainJobs of a run, and so give back their nodes; return their names.

    Raises:
        ModelmillError: Kubernetes is not reached, or does not allow it.
    """
    api = Api(client=kubeconfig.client(), namespace=namespace)
    try:
        names = [str(job["metadata"]["name"]) for job in api.find("trainjobs", labelSelector=f"{RUN_LABEL}={run}")]
    except Refused as refused:
        if refused.code == 404:
            # Without Trainer there are none.
            return []
        raise
    for name in names:
        api.delete("trainjobs", name)
    return names
