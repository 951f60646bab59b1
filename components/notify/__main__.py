"""The notification as a command. It never fails: how a run ended is not changed by who hears of it."""

import argparse
import json
import logging

from components.notify.settings import NotifySettings
from modelmill.errors import without_secrets
from modelmill.home import be_private

log = logging.getLogger("modelmill")


def main() -> None:
    """Tell how the run ended, once."""
    parser = argparse.ArgumentParser(
        prog="python -m components.notify",
        description="Tells people how a run ended, by the addresses of MODELMILL_NOTIFY.",
        epilog="The run is MODELMILL_RUN, MLflow is MLFLOW_TRACKING_URI.",
    )
    parser.add_argument("--settings", required=True, metavar="JSON", help=", ".join(NotifySettings.model_fields))
    parser.add_argument("--began", default="", metavar="TIME", help="when the run began (RFC 3339)")
    parser.add_argument("--status", default="", metavar="JSON", help="KFP's own word for how its steps ended")
    parsed = parser.parse_args()
    be_private()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        _tell(parsed)
    except Exception as error:  # noqa: BLE001 - a run that went well stays so
        log.warning("not notified: %s", without_secrets(f"{type(error).__name__}: {error}"))


def _tell(parsed: argparse.Namespace) -> None:
    from components.notify.run import ending
    from modelmill.registry.notify import notify

    settings = NotifySettings.model_validate_json(parsed.settings)
    happened = ending(settings, began=parsed.began, state=_state(parsed.status)).happened()
    # Whoever reads the pod's log is told, too.
    log.info("%s", happened.text)
    notify(happened)


def _state(status: str) -> str:
    try:
        return str(json.loads(status)["state"])
    except (ValueError, KeyError, TypeError):
        return ""


if __name__ == "__main__":
    main()
