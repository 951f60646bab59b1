"""Where scored rows go: a folder or a prefix of a bucket, shard by shard, and a manifest last.

    part-00000.parquet            rows with their answers
    _refused/part-00000.parquet   rows without one, and why; only where there are any
    _shards/00000.json            what became of a shard's rows, and where the next one begins: the shard is done
    _job.json                     what is scored by what: of another model or input nothing is added
    _manifest.json                all shards and the counts: the job is done

Names that begin with `_` are not seen by what reads a folder of Parquet (Arrow, Spark, this program's own sources).
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from modelmill.dataset import encode
from modelmill.digest import canonical_json, sha256_hex
from modelmill.errors import ModelmillError, UserError
from modelmill.store import NotFound
from modelmill.store.place import open_backend

JOB, MANIFEST = "_job.json", "_manifest.json"
_TEMPORARY = "_tmp"


class Output:
    """An output that only ever grows; what is there is compared, never overwritten."""

    def __init__(self, uri: str) -> None:
        self.uri, self._backend = open_backend(uri, "--output", _TEMPORARY)

    def claim(self, job: Mapping[str, Any]) -> None:
        """Say what is scored here by what.

        Raises:
            UserError: something else is scored here, or the place holds other things.
        """
        try:
            there = self._json(JOB)
        except NotFound:
            others = sorted(self._backend.keys(""))
            if others:
                raise UserError(
                    f"{self.uri}: holds {len(others)} files that no scoring made ({others[0]}); choose another "
                    "--output, or empty it"
                ) from None
            self._backend.put_if_absent(JOB, canonical_json(job).encode())
            there = self._json(JOB)
        differing = [name for name in job if there.get(name) != job[name]]
        if differing:
            name = differing[0]
            theirs, ours = (
                each if isinstance(each, str) else canonical_json(each) for each in (there.get(name), job[name])
            )
            raise UserError(
                f"{self.uri}: was begun with another {name} ({theirs}) than this one ({ours}); choose another "
                "--output, or delete this one to score anew"
            )

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest of a job that is done, or None."""
        try:
            return self._json(MANIFEST)
        except NotFound:
            return None

    def done(self) -> list[dict[str, Any]]:
        """Return the records of the shards that are done, from the first without a gap."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                found.append(self._json(_shard(len(found))))
            except NotFound:
                return found

    def put(self, number: int, table: pa.Table, refused: pa.Table, record: Mapping[str, Any]) -> dict[str, Any]:
        """Put a shard and then its record; return the record, with the parts' digests.

        Raises:
            ModelmillError: a part is there with other bytes.
        """
        parts: dict[str, Any] = {}
        for kind, each in (("", table), ("_refused/", refused)):
            if each.num_rows or not kind:
                name = f"{kind}part-{number:05}.parquet"
                data = encode(each)
                self._put(name, data)
                parts[name] = {"rows": each.num_rows, "bytes": len(data), "sha256": sha256_hex(data)}
        whole = {**record, "parts": parts}
        self._put(_shard(number), canonical_json(whole).encode())
        return whole

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Put the manifest."""
        self._put(MANIFEST, canonical_json(manifest).encode())
        root = self._backend.file(_TEMPORARY)
        if root is not None:
            # What a killed run was writing.
            shutil.rmtree(root, ignore_errors=True)

    def _put(self, key: str, data: bytes) -> None:
        if self._backend.put_if_absent(key, data):
            return
        there = self._backend.get(key)
        if there != data:
            raise ModelmillError(
                f"{self.uri}/{key}: holds other bytes (sha256 {sha256_hex(there)[:12]}…) than this run makes "
                f"({sha256_hex(data)[:12]}…): it was changed, or begun on a machine or with libraries that round "
                "otherwise; delete it, or choose another --output"
            )

    def _json(self, key: str) -> dict[str, Any]:
        data = self._backend.get(key)
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ModelmillError(f"{self.uri}/{key}: was changed: {len(data)} bytes that are no JSON object; delete it")
        return value


def _shard(number: int) -> str:
    return f"_shards/{number:05}.json"


def counted(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of shards together: by file, and in all.

    Raises:
        ModelmillError: rows are unaccounted for.
    """
    files: dict[str, dict[str, Any]] = {}
    for record in records:
        for name, counts in record["files"].items():
            into = files.setdefault(name, {"read": 0, "answered": 0, "refused": {}})
            into["read"] += counts["read"]
            into["answered"] += counts["answered"]
            for reason, count in counts["refused"].items():
                into["refused"][reason] = into["refused"].get(reason, 0) + count
    reasons = sorted({reason for counts in files.values() for reason in counts["refused"]})
    refused = {reason: sum(counts["refused"].get(reason, 0) for counts in files.values()) for reason in reasons}
    read, answered = (sum(counts[name] for counts in files.values()) for name in ("read", "answered"))
    if read != answered + sum(refused.values()):
        raise ModelmillError(f"{read:,} rows were read, {answered:,} answered and {sum(refused.values()):,} refused")
    return {"rows": read, "answered": answered, "refused": refused, "files": files}
