"""No credential is ever written: markers stand wherever one comes in, and everything that was written is searched.

One recipe runs whole against a real S3 server and a real MLflow server whose artifacts are in S3; other commands are
refused by one of them, and by the recipe's own reader. What they leave: their output, the folder that they ran in with
logs, events, pages and caches, MLflow's database, and every object of every bucket, Parquet decoded.
"""

import base64
import io
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests import servers
from tests.commands import modelmill
from tests.modelmill.web_server import Served, serving
from tests.pipelines.test_run import RECIPES

QUICK = ("finetune.folds=null", "evaluate.robustness=[]", "evaluate.explain=0", "finetune.epochs=5")


@dataclass
class Planted:
    """Markers by what they are, what the commands wrote, and where to look for the rest."""

    folder: Path
    markers: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    """User by marker, where the two travel together."""
    said: dict[str, str] = field(default_factory=dict)
    """Output by command."""
    codes: dict[str, int] = field(default_factory=dict)

    def secret(self, what: str, user: str = "") -> str:
        """Return a new marker."""
        marker = f"planted{uuid.uuid4().hex}"
        self.know(what, marker, user)
        return marker

    def know(self, what: str, marker: str, user: str = "") -> None:
        """Take what a server was given for a marker."""
        self.markers[what] = marker
        if user:
            self.users[marker] = user

    def run(self, name: str, *arguments: str, env: Mapping[str, str]) -> None:
        """Run a command and keep what it said."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        # What is left in there is searched, too.
        own = {"TMPDIR": str(self.folder / "tmp"), "HOME": str(self.folder / "home")}
        done = modelmill(*arguments, cwd=self.folder, env={**env, **own})
        self.said[name], self.codes[name] = f"{done.stdout}\n{done.stderr}", done.returncode

    def found_in(self, data: bytes) -> list[str]:
        """Return which markers stand in some bytes, plainly or as a header of HTTP or a form has them."""
        return [what for what, marker in self.markers.items() if any(form in data for form in self._forms(marker))]

    def _forms(self, marker: str) -> Iterator[bytes]:
        yield marker.encode()
        yield base64.b64encode(marker.encode()).rstrip(b"=")
        if user := self.users.get(marker):
            yield base64.b64encode(f"{user}:{marker}".encode()).rstrip(b"=")


@dataclass(frozen=True)
class Written:
    """All that was written, by where it lies."""

    planted: Planted
    things: dict[str, bytes]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """Run everything once, and gather what it wrote."""
    folder = tmp_path_factory.mktemp("credentials")
    planted = Planted(folder=folder / "work")
    for name in ("work", "work/home", "s3", "mlflow"):
        (folder / name).mkdir()
    with (
        servers.seaweedfs(folder / "s3") as s3,
        servers.mlflow(folder / "mlflow", s3=s3) as mlflow,
        _wine(planted) as wine,
    ):
        env = _environment(planted, s3, mlflow)
        recipe = _recipe(planted, wine)
        settings = [word for one in QUICK for word in ("--set", one)]
        planted.run("run", "run", str(recipe), *settings, "--json", env=env)
        planted.run("compile", "compile", str(recipe), "-o", "pipeline.yaml", env=env)
        planted.run("models verify", "models", "verify", "credentials", "--json", env=env)
        planted.run("gc", "gc", "--json", env=env)
        wrong = {"AWS_SECRET_ACCESS_KEY": "the refused key", "AWS_SESSION_TOKEN": "the session token"}
        refused = env | {name: planted.secret(what) for name, what in wrong.items()}
        planted.run("refused by S3", "run", str(recipe), *settings, "--json", env=refused)
        away = f"http://ann:{planted.secret('the password of an MLflow that is gone', 'ann')}@127.0.0.1:9"
        gone = env | {"MLFLOW_TRACKING_URI": away, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        planted.run("no MLflow", "run", str(recipe), *settings, env=gone)
        named = f"https://ann:{planted.secret('the password in a source', 'ann')}@example.org/wine.csv"
        planted.run("a source with a password", "run", str(recipe), "--set", f"ingest.labelled.0.uri={named}", env=env)
        signed = f"https://example.org/wine.csv?X-Amz-Signature={planted.secret('the signature of a source')}"
        planted.run(
            "a signed source", "run", str(recipe), "--set", f"ingest.labelled.0.uri={signed}", "--json", env=env
        )
        yield Written(planted, dict(_all(planted, s3, folder)))


@contextmanager
def _wine(planted: Planted) -> Iterator[str]:
    """Serve the table of the recipe to whoever knows the password, which stands in ~/.netrc; yield its address."""
    password = planted.secret("the password in netrc", "ann")
    (planted.folder / "home" / ".netrc").write_text(f"machine 127.0.0.1 login ann password {password}\n")
    asked = f"Basic {base64.b64encode(f'ann:{password}'.encode()).decode()}"
    found = find_spec("mlxtend")
    assert found is not None
    assert found.origin is not None
    table = (Path(found.origin).parent / "data" / "data" / "wine.csv").read_bytes()
    with serving() as server:
        yield server.serve("/wine.csv", Served(content=table, etag='"wine"', password=asked))


def _environment(planted: Planted, s3: servers.S3Server, mlflow: servers.MlflowServer) -> dict[str, str]:
    """Return an environment with a marker for each secret that a step may be given."""
    planted.know("the access key", s3.access_key)
    planted.know("the secret key", s3.secret_key)
    # Whoever is told has gone away: what could not be sent is warned of.
    hook = f"http://127.0.0.1:9/services/{planted.secret('the webhook')}"
    slack = f"slack+http://127.0.0.1:9/services/{planted.secret('the Slack hook')}"
    mail = f"smtp://ann:{planted.secret('the mail password', 'ann')}@127.0.0.1:9/?to=ann@example.org"
    password = planted.secret("the password in MLflow's address", "ann")
    return {
        **s3.env,
        "MODELMILL_STORE": f"s3://{s3.new_bucket()}/store",
        "MLFLOW_TRACKING_URI": mlflow.uri.replace("http://", f"http://ann:{password}@"),
        "MLFLOW_TRACKING_USERNAME": "bob",
        "MLFLOW_TRACKING_PASSWORD": planted.secret("MLflow's password", "bob"),
        "MLFLOW_TRACKING_TOKEN": planted.secret("MLflow's token"),
        "MODELMILL_NOTIFY": f"{hook} {slack} {mail}",
        "HF_TOKEN": planted.secret("the Hub's token"),
        "KFP_TOKEN": planted.secret("KFP's token"),
    }


def _recipe(planted: Planted, wine: str) -> Path:
    """Write a recipe whose table is on the web server."""
    header = yaml.safe_load((RECIPES / "wine_tiny.yaml").read_text())["ingest"]["labelled"][0]["header"]
    recipe = planted.folder / "credentials.yaml"
    told = {
        "extends": str(RECIPES / "wine_tiny.yaml"),
        "name": "credentials",
        "ingest": {"labelled": [{"uri": wine, "header": header}]},
        "register": {"name": "credentials"},
    }
    recipe.write_text(yaml.safe_dump(told))
    return recipe


def _all(planted: Planted, s3: servers.S3Server, folder: Path) -> Iterator[tuple[str, bytes]]:
    for name, said in planted.said.items():
        yield f"what `{name}` said", said.encode()
    for path in sorted(planted.folder.rglob("*")):
        # The one file in which a password was put on purpose.
        if path.is_file() and path.name != ".netrc":
            yield str(path.relative_to(folder)), _plain(path.read_bytes())
    for path in sorted((folder / "mlflow").rglob("*")):
        # The server's log is its own, and is looked at as well.
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
    client = s3.client()
    for bucket in client.list_buckets()["Buckets"]:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for item in page.get("Contents", []):
                data = client.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
                yield f"s3://{bucket['Name']}/{item['Key']}", item["Key"].encode() + b"\n" + _plain(data)


def _plain(data: bytes) -> bytes:
    """Return bytes as they are, and what they hold where that is packed."""
    if data[:4] != b"PAR1":
        return data
    table = pq.read_table(io.BytesIO(data))
    return data + repr(table.to_pydict()).encode() + str(table.schema.metadata).encode()


def test_the_commands_did_what_they_were_to_do(written: Written) -> None:
    codes = {name: code for name, code in written.planted.codes.items() if code != 0}
    assert codes == {
        "refused by S3": 2, "no MLflow": 1, "a source with a password": 2, "a signed source": 2
    }, written.planted.said  # fmt: skip
    said = written.planted.said
    assert "was refused" in said["refused by S3"]
    assert "check MLFLOW_TRACKING_URI" in said["no MLflow"]
    assert "credentials do not belong in the URI" in said["a source with a password"]


def test_all_places_were_looked_at(written: Written) -> None:
    names = list(written.things)
    for part in ("ingest.log", "events.jsonl", "runner.log", "run.json", "recipe.json", "report.html", "data.html"):
        assert any(name.endswith(part) for name in names), part
    for part in ("pipeline.yaml", "mlflow.db", "/store/blobs/", "/store/models/", "MLmodel", "model_card.md"):
        assert any(part in name for name in names), part


def test_a_marker_would_be_found(written: Written) -> None:
    planted = written.planted
    for what, marker in planted.markers.items():
        assert planted.found_in(f"x{marker}y".encode()) == [what]
        if user := planted.users.get(marker):
            header = base64.b64encode(f"{user}:{marker}".encode())
            assert planted.found_in(b"Authorization: Basic " + header) == [what]


def test_no_credential_was_written_anywhere(written: Written) -> None:
    found = {name: hit for name, data in written.things.items() if (hit := written.planted.found_in(data))}
    assert found == {}
