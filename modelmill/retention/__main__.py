"""Retention as a command, as the cluster's CronJob runs it: `python3 -m modelmill.retention --apply`."""

import argparse
import json
import logging
import sys
import time

from modelmill.errors import ModelmillError, without_credentials
from modelmill.home import be_private
from modelmill.logs import log_to_stderr
from modelmill.retention.tally import plain

_SAY_SECONDS = 10.0
log = logging.getLogger("modelmill.retention")


def main() -> int:
    """Show or remove what nothing needs; return 0 done, 1 failed, 2 the user's input is wrong."""
    parsed = _parsed()
    be_private()
    log_to_stderr()
    from modelmill.retention.run import retain

    asked = {name: value for name, value in vars(parsed).items() if name != "json"}
    try:
        result = retain({**asked, "deleted": tuple(parsed.deleted)}, _Said())
    except ModelmillError as error:
        said = without_credentials(str(error))
        if parsed.json:
            sys.stdout.write(json.dumps({"error": said, "exit_code": error.exit_code}) + "\n")
        log.error("%s", said)
        return error.exit_code
    sys.stdout.write((json.dumps(result) if parsed.json else plain(result)) + "\n")
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m modelmill.retention",
        description="Removes from the store what no champion, no recent version and no running step needs.",
        epilog="The store is MODELMILL_STORE, MLflow is MLFLOW_TRACKING_URI.",
    )
    parser.add_argument("--keep-versions", type=int, default=5, metavar="N", help="newest of each model (default 5)")
    parser.add_argument("--min-age", default="7d", metavar="AGE", help="what is younger stays (default 7d)")
    parser.add_argument("--idle", action="store_true", help="nothing runs on this store: allow an age under a day")
    parser.add_argument(
        "--deleted", action="append", default=[], metavar="NAME", help="a model that MLflow has no more"
    )
    parser.add_argument("--apply", action="store_true", help="remove; else only show what would go")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


class _Said:
    """Says now and then how far it is, for whoever reads the log."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str, count: int) -> None:
        if time.monotonic() - self._last >= _SAY_SECONDS:
            self._last = time.monotonic()
            log.info("%s: %s looked at", what, f"{count:,}")


if __name__ == "__main__":
    sys.exit(main())
