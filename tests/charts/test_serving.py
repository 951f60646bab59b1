"""A champion behind KServe."""

from typing import Any

import yaml

from tests.charts import kserve
from tests.charts.helm import CI, Helm, Object, environment, one

CHAMPION = f"s3://modelmill/store/models/{'a' * 64}"
CHALLENGER = f"s3://modelmill/store/models/{'b' * 64}"


def predictor(helm: Helm, values: Any) -> Object:
    found: Object = one(helm.render(values), "InferenceService", "modelmill")["spec"]["predictor"]
    return found


def test_the_train_image_serves_the_address_by_its_own_command(helm: Helm) -> None:
    (container,) = predictor(helm, CI / "champion-values.yaml")["containers"]
    assert container["name"] == "kserve-container"
    assert container["image"] == "localhost/modelmill-train:0.1.0"
    assert not {"command", "args"} & set(container)
    assert environment(container)["MODELMILL_MODEL"] == CHAMPION
    assert [port["containerPort"] for port in container["ports"]] == [5000]
    assert container["resources"]["limits"] == {"cpu": 4, "memory": "8Gi", "nvidia.com/gpu": 1}


def test_a_challenger_gets_its_share_of_the_requests(helm: Helm) -> None:
    values = yaml.safe_load((CI / "canary-values.yaml").read_text())
    canary = predictor(helm, values)
    assert canary["canaryTrafficPercent"] == 20
    assert environment(canary["containers"][0])["MODELMILL_MODEL"] == CHALLENGER
    # Taken back: the champion again, for all.
    values["serving"]["canary"]["model"] = ""
    whole = predictor(helm, values)
    assert "canaryTrafficPercent" not in whole
    assert environment(whole["containers"][0])["MODELMILL_MODEL"] == CHAMPION


def test_a_share_of_nothing_is_a_share(helm: Helm) -> None:
    serving = {"enabled": True, "model": CHAMPION, "canary": {"model": CHALLENGER, "percent": 0}, "minReplicas": 0}
    found = predictor(helm, {"serving": serving})
    assert (found["canaryTrafficPercent"], found["minReplicas"]) == (0, 0)


def test_behind_knative_the_pod_has_only_fields_that_it_takes(helm: Helm) -> None:
    pod = kserve.pod_of(predictor(helm, CI / "canary-values.yaml"))
    assert set(pod) <= kserve.KNATIVE_POD
    (container,) = pod["containers"]
    assert set(container) <= kserve.KNATIVE_CONTAINER
    ports = {container[kind]["httpGet"]["port"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert ports == {container["ports"][0]["containerPort"]}
    assert container["ports"][0]["name"] == "http1"


def test_the_annotation_says_the_mode(helm: Helm) -> None:
    for values, mode in (("champion", "Standard"), ("canary", "Knative")):
        service = one(helm.render(CI / f"{values}-values.yaml"), "InferenceService", "modelmill")
        assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": mode}
