"""Profiles: quantities as Kubernetes writes them, prices, and what may not be said in one."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from modelmill.profile import OWN_VARIABLES, NodeKind, Profile, bytes_of, seconds_of
from modelmill.quantities import Cores, Duration, Label, LabelName, LabelValue, Quantity, Resource, Value, Variable
from pipelines.profile_file import load, schema

PROFILES = sorted((Path(__file__).resolve().parents[2] / "pipelines" / "profiles").glob("*.yaml"))
SMALL: dict[str, Any] = {
    "name": "small",
    "store": "s3://bucket/prefix",
    "mlflow": "http://mlflow:5000",
    "kfp": {"host": "http://kfp:8888"},
    "nodes": {"plain": {}},
    "default_node": "plain",
}


def profile(**changes: Any) -> Profile:
    return Profile.model_validate_json(json.dumps({**SMALL, **changes}))


@given(st.integers(1, 10**6), st.sampled_from(["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]))
def test_bytes_are_those_that_kubernetes_counts(number: int, unit: str) -> None:
    from kubernetes.utils import parse_quantity

    assert bytes_of(f"{number}{unit}") == parse_quantity(f"{number}{unit}")
    assert TypeAdapter(Quantity).validate_python(f"{number}{unit}")


@pytest.mark.parametrize(("said", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("2d", 172_800)])
def test_a_time_has_its_seconds(said: str, seconds: int) -> None:
    assert seconds_of(said) == seconds


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (Quantity, ["1", "1.5Gi", "100k"], ["8 GB", "8GB", "-1", "1e3", "", "8Gi\n"]),
        (Cores, ["4", "0.5", "500m"], ["4 cores", "0.5m", "", "-1"]),
        (Duration, ["1s", "2d"], ["0s", "1w", "1.5h", "12", ""]),
        (Label, ["a", "large-gpu", "a" * 63], ["Large", "-a", "a-", "a_b", "a" * 64, "", "a\n"]),
        (LabelName, ["a", "nvidia.com/gpu.product", "a_b"], ["/a", "a/b/c", "A.com/b", "a b", ""]),
        (LabelValue, ["", "NVIDIA-L4", "a_b.c"], ["-a", "a b", "a" * 64, "a/b"]),
        (Resource, ["nvidia.com/gpu", "amd.com/gpu", "google.com/tpu"], ["gpu", "nvidia.com/", "a b/c"]),
        (Variable, ["A", "_a1"], ["1A", "A-B", "A=B", ""]),
        (Value, ["", "a\nb", "{'a': {}}"], ["{{workflow.name}}", "a {{b}}"]),
    ],
)
def test_a_word_is_right_or_its_form_is_told(kind: Any, right: list[str], wrong: list[str]) -> None:
    adapter = TypeAdapter[str](kind)
    pattern = adapter.json_schema()["pattern"]
    for text in right:
        assert adapter.validate_python(text) == text
        assert re.search(pattern, text)
    for text in wrong:
        with pytest.raises(ValidationError, match="wants "):
            adapter.validate_python(text)


def test_a_price_is_of_all_nodes_and_may_be_unknown() -> None:
    assert NodeKind(price_per_hour=3.0, nodes=4).price(1800) == 6.0
    assert NodeKind().price(1800) is None


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_right_and_fits_the_schema_that_editors_read(path: Path) -> None:
    import yaml

    load(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema())


@pytest.mark.parametrize("variable", sorted(OWN_VARIABLES))
@pytest.mark.parametrize("place", ["environment", "secrets", "config_maps", "nodes"])
def test_what_the_profile_says_itself_is_not_said_again(variable: str, place: str) -> None:
    said: dict[str, Any] = {
        "environment": {variable: "x"},
        "secrets": [{"name": "a", "keys": {variable: "k"}}],
        "config_maps": [{"name": "a", "keys": {variable: "k"}}],
        "nodes": {"plain": {"environment": {variable: "x"}}},
    }
    with pytest.raises(ValidationError, match=rf"{variable}: leave it out"):
        profile(**{place: said[place]})


@pytest.mark.parametrize("variable", ["TOKENIZERS_PARALLELISM", "AWS_WEB_IDENTITY_TOKEN_FILE", "NCCL_DEBUG"])
def test_a_variable_that_only_sounds_like_a_secret_is_none(variable: str) -> None:
    assert profile(environment={variable: "x"}).environment == {variable: "x"}


def test_a_kind_of_node_may_say_a_variable_anew_and_a_secret_may_not() -> None:
    assert profile(environment={"A": "1"}, nodes={"plain": {"environment": {"A": "2"}}})
    with pytest.raises(
        ValidationError, match=r"nodes\.plain\.environment\.A: set twice: here, and at secrets\.0\.keys"
    ):
        profile(nodes={"plain": {"environment": {"A": "2"}}}, secrets=[{"name": "held", "keys": {"A": "k"}}])


def test_light_steps_run_on_the_default_kind_where_no_other_is_named() -> None:
    assert profile().light == "plain"
    assert profile(nodes={"plain": {}, "small": {}}, light_node="small").light == "small"
