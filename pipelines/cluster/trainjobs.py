"""The TrainJobs of a run, which a step that was killed before it could has left behind."""

from modelmill.errors import ModelmillError
from modelmill.trainjob.client import Api, Refused
from modelmill.trainjob.spec import RUN_LABEL
from pipelines.cluster.kubernetes import connect


def delete_trainjobs(namespace: str, run: str) -> list[str]:
    """Delete the TrainJobs of a run, and so give back their nodes; return their names.

    Raises:
        ModelmillError: Kubernetes is not reached, or does not allow it.
    """
    from kubernetes.config import ConfigException

    try:
        api = Api(client=connect(), namespace=namespace)
    except ConfigException as error:
        raise ModelmillError(f"Kubernetes is not reached: {error}") from error
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
