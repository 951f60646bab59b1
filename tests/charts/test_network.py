"""Who may speak to the chart's pods, and to whom they may."""

from pathlib import Path
from typing import Any

from tests.charts.helm import CI, Helm, Object, of_kind, one, pods

STEPS: list[Object] = [
    {"podSelector": {"matchExpressions": [{"key": "pipeline/runid", "operator": "Exists"}]}},
    {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "modelmill"}}},
]


def tcp(*ports: int) -> list[Object]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def selected(policy: Object, labels: Object) -> bool:
    """Whether a policy is about pods with these labels."""
    selector = policy["spec"]["podSelector"]
    left_out = {value for each in selector.get("matchExpressions", []) for value in each["values"]}
    return selector["matchLabels"].items() <= labels.items() and labels["app.kubernetes.io/component"] not in left_out


def about(objects: list[Object], component: str, direction: str) -> list[Object]:
    """Return what all policies together allow the pods of a component; none of them is open to all."""
    (labels,) = [labels for _, labels, _ in pods(objects) if labels["app.kubernetes.io/component"] == component]
    policies = [each["spec"] for each in of_kind(objects, "NetworkPolicy") if selected(each, labels)]
    assert any(direction.capitalize() in each["policyTypes"] for each in policies)
    return [rule for each in policies for rule in each.get(direction, [])]


def test_steps_reach_mlflow_and_seaweedfs_and_nobody_else_does(helm: Helm) -> None:
    objects = helm.render(CI / "trial-values.yaml")
    assert about(objects, "mlflow", "ingress") == [{"from": STEPS, "ports": tcp(5000)}]
    assert about(objects, "seaweedfs", "ingress") == [{"from": STEPS, "ports": tcp(8333)}]
    for component in ("retention", "buckets"):
        assert about(objects, component, "ingress") == []


def test_every_pod_of_the_chart_is_closed_but_for_what_is_allowed(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    policies = of_kind(objects, "NetworkPolicy")
    if values.stem in {"identity-values", "rights-values"}:
        assert not policies
        return
    for _, labels, _ in pods(objects):
        assert any(selected(each, labels) and "ingress" not in each["spec"] for each in policies)


def test_pods_of_runs_are_not_among_those_that_are_closed(helm: Helm) -> None:
    step = {"app.kubernetes.io/part-of": "modelmill", "app.kubernetes.io/component": "step", "pipeline/runid": "1"}
    assert not [each for each in of_kind(helm.render({}), "NetworkPolicy") if selected(each, step)]


def test_who_is_named_may_speak_to_mlflow_too(helm: Helm) -> None:
    (rule,) = about(helm.render(CI / "production-values.yaml"), "mlflow", "ingress")
    proxy = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}},
        "podSelector": {"matchLabels": {"app": "proxy"}},
    }
    assert rule == {"from": [*STEPS, proxy], "ports": tcp(5000)}


def test_gateways_reach_the_champion_on_the_ports_of_its_mode(helm: Helm) -> None:
    gateways = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in ("knative-serving", "istio-system", "kourier-system")
    ]
    for values, ports in (("canary", (8012, 8013, 8112, 9090)), ("champion", (5000,))):
        objects = helm.render(CI / f"{values}-values.yaml")
        assert about(objects, "serving", "ingress") == [{"from": gateways, "ports": tcp(*ports)}]


def test_without_gateways_the_namespace_alone_reaches_the_champion(helm: Helm) -> None:
    model = f"s3://modelmill/store/models/{'a' * 64}"
    serving = {"enabled": True, "model": model}
    values: dict[str, Any] = {"serving": serving, "network": {"serving": {"namespaces": []}}}
    (rule,) = about(helm.render(values), "serving", "ingress")
    assert rule["from"] == [{"podSelector": {}}]


def test_pods_open_only_the_connections_that_they_need(helm: Helm) -> None:
    dns = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }

    def server(component: str, port: int) -> Object:
        labels = {"app.kubernetes.io/name": "modelmill", "app.kubernetes.io/instance": "modelmill"}
        labels["app.kubernetes.io/component"] = component
        return {"to": [{"podSelector": {"matchLabels": labels}}], "ports": tcp(port)}

    inside = helm.render(CI / "canary-values.yaml")
    for component in ("mlflow", "retention", "buckets", "serving"):
        assert about(inside, component, "egress") == [dns, server("mlflow", 5000), server("seaweedfs", 8333)]
    assert about(inside, "seaweedfs", "egress") == []
    outside = helm.render(CI / "production-values.yaml")
    named = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": tcp(5432, 9000)}
    assert about(outside, "retention", "egress") == [dns, server("mlflow", 5000), named]


def test_by_default_connections_outward_are_free(helm: Helm) -> None:
    policies = of_kind(helm.render({}), "NetworkPolicy")
    assert {kind for each in policies for kind in each["spec"]["policyTypes"]} == {"Ingress"}
    assert one(policies, "NetworkPolicy", "modelmill-deny")["spec"].get("ingress") is None
