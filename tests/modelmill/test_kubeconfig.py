"""How a process finds the Kubernetes API, and what it says of files that lead nowhere."""

from pathlib import Path

import pytest

from modelmill import kubeconfig
from modelmill.errors import ModelmillError
from modelmill.trainjob.client import Api

WHOLE = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: me, user: {token: marker-of-nobody}}]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return tmp_path / "config"


def test_a_kubeconfig_says_where_the_server_is(file: Path) -> None:
    file.write_text(WHOLE)
    assert kubeconfig.client().configuration.host == "http://127.0.0.1:1"


def test_the_variable_may_name_several_files(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, _, users = WHOLE.partition("users:")
    file.write_text(head)
    (tmp_path / "users").write_text(f"apiVersion: v1\nkind: Config\nusers:{users}")
    monkeypatch.setenv("KUBECONFIG", f"{file}:{tmp_path / 'users'}")
    assert kubeconfig.client().configuration.api_key == {"authorization": "Bearer marker-of-nobody"}


def test_no_file_and_no_pod_is_no_cluster(file: Path) -> None:
    with pytest.raises(kubeconfig.NoCluster, match=f"^no {file}: nobody here is known to a cluster"):
        kubeconfig.client()


def test_a_pod_is_known_by_its_account_or_told_that_it_has_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(ModelmillError, match="Service token file does not exist") as told:
        kubeconfig.client()
    assert not isinstance(told.value, kubeconfig.NoCluster)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "just words",
        "{not: [yaml",
        "\x00\x01",
        "current-context: here",
        WHOLE.replace("contexts: [", "contexts: [1, "),
        WHOLE.replace("nobody}", "nobody"),
    ],
)
def test_a_broken_file_is_named_and_shows_no_credential(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ModelmillError) as told:
        kubeconfig.client()
    assert str(told.value).startswith(f"{file}: no configuration of kubectl's: ")
    assert "marker-of-nobody" not in str(told.value)
    assert not isinstance(told.value, kubeconfig.NoCluster)


@pytest.mark.parametrize("command", ["/nowhere/plugin", "false", "echo"])
def test_a_plugin_that_gives_nothing_leaves_the_asking_to_the_server(file: Path, command: str) -> None:
    # The package logs what was wrong, and asks as nobody.
    plugin = f"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {command}}}}}"
    file.write_text(WHOLE.replace("{token: marker-of-nobody}", plugin))
    assert kubeconfig.client().configuration.api_key == {}


@pytest.mark.parametrize("user", ["client-certificate: /nowhere/crt, client-key: /nowhere/key", "tokenFile: /nowhere"])
def test_what_a_file_names_and_is_not_there_is_told_at_the_latest_when_it_is_needed(file: Path, user: str) -> None:
    text = WHOLE.replace("http://", "https://").replace("token: marker-of-nobody", user)
    file.write_text(text)
    with pytest.raises(ModelmillError, match=r"does not answer|no configuration"):
        Api(client=kubeconfig.client(), namespace="n").find("trainjobs")
