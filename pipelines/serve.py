"""`modelmill models serve`: a model behind HTTP, as MLflow's scoring protocol says it."""

from typing import Annotated

import typer

from pipelines.saying import Json, say


def serve(
    reference: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="NAME@ALIAS, models:/NAME/VERSION, models/<address>, s3://… or a folder."),
    ],
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 5000,
    host: Annotated[str, typer.Option(help="0.0.0.0 for every address of this machine.")] = "127.0.0.1",
    as_json: Json = False,
) -> None:
    """Serve a model until SIGTERM or Ctrl-C: /invocations, /ping, /health and /version, as MLflow has them."""
    from modelmill.models.server import serve as run
    from pipelines.predict import be_quiet

    def ready(address: str) -> None:
        told = {"model": reference, "address": address}
        say(as_json, told, lambda: f"{reference} answers at {address}/invocations")

    be_quiet()
    run(reference, host, port, ready)
