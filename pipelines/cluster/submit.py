"""Submits a recipe: checks it, copies what only this machine has, uploads the pipeline and starts it."""

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelmill.digest import sha256_hex
from modelmill.errors import UserError
from modelmill.profile import Profile
from modelmill.store import STORE_VARIABLE, open_store
from pipelines.cluster.connection import Connection
from pipelines.cluster.facts import Facts, plan_digest
from pipelines.cluster.objects import Version, ensure_experiment, ensure_version, start_run
from pipelines.cluster.uploads import carried
from pipelines.compiling import compiled
from pipelines.profile_file import check_resources
from pipelines.recipe import Recipe
from pipelines.steps import Stage

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run that the server has taken."""

    run: str
    """Its id."""
    name: str
    """Recipe and a short id of its own."""
    version: Version


def use_places(profile: Profile) -> None:
    """Let this process read and write where the profile's steps do; what its environment says already is kept.

    A store or an MLflow that has another address from outside of the cluster is so named by AWS_ENDPOINT_URL and
    MLFLOW_TRACKING_URI.
    """
    for name, value in profile.environment.items():
        if name.startswith("AWS_"):
            os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_TRACKING_URI", profile.mlflow)
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", profile.experiment)
    os.environ[STORE_VARIABLE] = profile.store


def check_plan(recipe: Recipe, profile: Profile, until: Stage, expected: str | None) -> None:
    """Refuse a recipe or profile that changed since it was planned.

    Raises:
        UserError: its digest does not begin with the expected one.
    """
    found = plan_digest(recipe, profile, until)
    if expected is not None and not re.fullmatch("[0-9a-f]{8,64}", expected.lower()):
        raise UserError("--expect-plan: wants the digest of `plan --json`, or at least its first 8 digits")
    if expected is not None and not found.startswith(expected.lower()):
        raise UserError(
            f"--expect-plan {expected[:12]}: the recipe or the profile is another one by now ({found[:12]}); nothing "
            "was submitted: plan again"
        )


def upload(connection: Connection, recipe: Recipe, until: Stage, say: Say = lambda _: None) -> Version:
    """Copy what only this machine has, compile, and return the pipeline's version on the server.

    Raises:
        UserError: the profile lacks a kind of node, or a file of the recipe is not there.
        ModelmillError: the store or the server does not answer.
    """
    profile = connection.profile
    check_resources(recipe, profile)
    content = compiled(carried(recipe, open_store(profile.store), say), until, profile)
    version = ensure_version(connection, recipe.name, content, sha256_hex(content.encode()))
    say(f"pipeline {recipe.name}, version {version.name[:12]} ({'unchanged' if version.reused else 'uploaded'})")
    return version


def submit(connection: Connection, recipe: Recipe, until: Stage, say: Say = lambda _: None) -> Submitted:
    """Upload a recipe's pipeline and start one run of it.

    Raises:
        UserError, ModelmillError: as `upload`.
    """
    version = upload(connection, recipe, until, say)
    name = f"{recipe.name}-{secrets.token_hex(4)}"
    facts = Facts.of(recipe, connection.profile, until)
    run: Any = start_run(connection, name, facts.text(), version, ensure_experiment(connection))
    return Submitted(run=run.run_id, name=name, version=version)
