"""The profiles that come along, and one that says everything that a profile can say."""

import json
from pathlib import Path

import yaml

from modelmill.profile import Profile

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "profiles"
FULL = """\
version: 1
name: full
store: s3://bucket/full
mlflow: http://mlflow.lab:5000
experiment: night
kfp: {host: "http://kfp.lab:8888", namespace: lab, ui: "https://kfp.example.org/pipeline"}
registry: registry.example.com/ml
images:
  data: registry.example.com/ml/modelmill-data@sha256:DATA
  train: registry.example.com/ml/modelmill-train@sha256:TRAIN
image_pull_secrets: [first, second]
environment: {AWS_ENDPOINT_URL: "http://s3.lab:8333", PLAIN: everywhere}
secrets:
  - {name: keys, keys: {AWS_ACCESS_KEY_ID: same, AWS_SECRET_ACCESS_KEY: same}}
  - {name: notify, keys: {MODELMILL_NOTIFY: addresses}, optional: true}
config_maps: [{name: settings, keys: {HTTP_TIMEOUT: timeout}, optional: true}]
nodes:
  light: {cpu: 500m, memory: 1.5Gi, queue: cheap, selector: {pool: cheap}, price_per_hour: 0.1}
  standard: {cpu: "0.5", memory: 100000k, scratch: 50Gi, time_limit: 90m, retries: 2}
  gpu:
    device: amd.com/gpu
    count: 2
    cpu: "8"
    memory: 32Gi
    selector: {pool: gpu, zone: a}
    tolerations:
      - {key: gpu, operator: Equal, value: "yes", effect: NoSchedule}
      - {key: spot}
    shared_memory: 8Gi
    scratch: 1Ti
    time_limit: 40d
    retries: 3
    queue: gpus
    environment: {PLAIN: on gpus, NCCL_DEBUG: WARN}
    price_per_hour: 2
  cluster: {device: nvidia.com/gpu, count: 8, nodes: 4, memory: 900Gi, queue: gpus, time_limit: 2d, price_per_hour: 40}
default_node: standard
light_node: light
""".replace("DATA", "d" * 64).replace("TRAIN", "e" * 64)
PROFILES = {
    **{path.stem: path.read_text() for path in sorted(FOLDER.glob("*.yaml"))},
    "full": FULL,
}


def profile(name: str) -> Profile:
    """Return a profile by its name."""
    return Profile.model_validate_json(json.dumps(yaml.safe_load(PROFILES[name])))
