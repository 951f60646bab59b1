"""The store: blobs by their sha256, and manifests that name blobs; nothing in it is ever overwritten.

Blobs are put first and the manifest last, each by a conditional put, so a reader sees a whole thing or none. Under
`work/` lies what running steps keep for the case that they are interrupted. Else only `gc` deletes, and nothing that is
young: what is put again although it is there counts as put now.
"""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelmill.digest import canonical_json, digest, sha256_hex, sha256_of_file
from modelmill.errors import ModelmillError
from modelmill.store.backend import Backend, Blob, Changed, NotFound, check_name
from modelmill.store.epochs import EPOCH_KEY, epochs
from modelmill.store.keys import CHECKPOINT, blob_key, work_key
from modelmill.store.place import open_backend

__all__ = ["STORE_VARIABLE", "Blob", "NotFound", "Store", "open_store"]

STORE_VARIABLE = "MODELMILL_STORE"
REFRESH_SECONDS = 3600.0
"""What was put longer ago is refreshed when it is put again or used; far less than the age that `gc` asks for."""


class Store:
    """Blobs and manifests in one place: a folder, or a prefix of an S3 bucket."""

    def __init__(self, uri: str, backend: Backend) -> None:
        self.uri = uri
        self._backend = backend

    def put_blob(self, data: bytes) -> Blob:
        """Put bytes; bytes that are there already are not sent again.

        Raises:
            ModelmillError: the store holds another number of bytes under that name, or cannot be written.
        """
        return self._put(Blob(sha256_hex(data), len(data)), data)

    def put_blob_file(self, path: Path) -> Blob:
        """Put a file's bytes without holding them in memory; bytes that are there already are not sent again.

        Raises:
            ModelmillError: the store holds another number of bytes under that name, or cannot be written.
        """
        return self._put(Blob(sha256_of_file(path), path.stat().st_size), path)

    def get_blob(self, sha256: str) -> bytes:
        """Return a blob's bytes.

        Raises:
            NotFound: there is no such blob.
            ModelmillError: the bytes are not those that were put.
        """
        data = self._backend.get(blob_key(sha256))
        self._check_blob(sha256, sha256_hex(data), len(data))
        return data

    def fetch_blob(self, sha256: str, path: Path) -> None:
        """Write a blob to a file, which appears whole and checked, or not at all.

        Raises:
            NotFound: there is no such blob.
            ModelmillError: the bytes are not those that were put, or the file cannot be written.
        """
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._backend.fetch(blob_key(sha256), part)
            self._check_blob(sha256, sha256_of_file(part), part.stat().st_size)
            part.replace(path)
        except OSError as error:
            advice = "make room, or check its folder's owner and mode"
            raise ModelmillError(f"{path}: cannot be written: {error.strerror or error}; {advice}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def blob_file(self, sha256: str) -> Path | None:
        """Return the file that holds a blob, checked, where the store is a folder; None where it is not.

        Raises:
            NotFound: there is no such blob.
            ModelmillError: the bytes are not those that were put.
        """
        path = self._backend.file(blob_key(sha256))
        if path is not None:
            size = self._backend.size(blob_key(sha256))
            self._check_blob(sha256, sha256_of_file(path), size)
        return path

    def has_blob(self, sha256: str) -> bool:
        """Return whether the store holds a blob."""
        return self._backend.exists(blob_key(sha256))

    def put_manifest(self, key: str, value: Mapping[str, Any]) -> None:
        """Put a manifest, such as 'datasets/<id>.json'; the same content already there is fine.

        Raises:
            ModelmillError: the key holds other content, or the store cannot be written.
        """
        data = canonical_json(value).encode()
        there = self._stands(check_name(key), data)
        if there != data:
            ours, theirs = sha256_hex(data)[:12], sha256_hex(there)[:12]
            raise ModelmillError(
                f"{self.place(key)}: holds other content (sha256 {theirs}…, and {ours}… was to be put), and nothing is"
                " overwritten; if it was changed by hand, delete it and run again"
            )

    def claim(self, key: str, value: Mapping[str, Any]) -> bool:
        """Put a manifest where there is none; return whether it is this one that lies there: of several one wins.

        Raises:
            ModelmillError: the store cannot be written.
        """
        data = canonical_json(value).encode()
        return self._stands(check_name(key), data) == data

    def append(self, folder: str, value: Mapping[str, Any], *, after: int) -> int:
        """Put a manifest behind the last one of a numbered chain, '<folder>/<number>.json', and return its number.

        `after` is how many the caller knows of; what others have put since then stays before it.

        Raises:
            ModelmillError: the store cannot be written.
        """
        data = canonical_json(value).encode()
        key = check_name(f"{folder}/{after:06}.json")
        while not self._backend.put_if_absent(key, data) and self._backend.get(key) != data:
            after += 1
            key = f"{folder}/{after:06}.json"
        return after

    def get_manifest(self, key: str) -> dict[str, Any]:
        """Return a manifest.

        Raises:
            NotFound: there is no such manifest.
            ModelmillError: it is not a JSON object.
        """
        return self._parsed(key, self._backend.get(check_name(key)))

    def put_addressed(self, kind: str, value: Mapping[str, Any]) -> str:
        """Put a manifest under the digest of its content; return its address, '<kind>/<digest>', without '.json'."""
        address = f"{kind}/{digest(value)}"
        self.put_manifest(f"{address}.json", value)
        return address

    def get_addressed(self, address: str) -> dict[str, Any]:
        """Return the manifest at an address that `put_addressed` gave.

        Raises:
            NotFound: there is no such manifest.
            ModelmillError: its content is not what the address says.
        """
        key, wanted = f"{check_name(address)}.json", address.rpartition("/")[2]
        data = self._backend.get(key)
        if sha256_hex(data) != wanted:
            raise self._changed(key, f"sha256 {wanted}", f"{sha256_hex(data)} ({len(data)} bytes)")
        return self._parsed(key, data)

    def has_manifest(self, key: str) -> bool:
        """Return whether the store holds a manifest."""
        return self._backend.exists(check_name(key))

    def put_work(self, key: str, data: bytes) -> bool:
        """Put bytes under `work/`; return whether they were put, False where the key is taken.

        Raises:
            ModelmillError: the key lies elsewhere, or the store cannot be written.
        """
        return self._backend.put_if_absent(work_key(key), data)

    def get_work(self, key: str) -> bytes:
        """Return the bytes of a key under `work/`, as they lie there.

        Raises:
            NotFound: there is no such key.
        """
        return self._backend.get(work_key(key))

    def delete_work(self, key: str) -> None:
        """Delete a key under `work/` and all that lies below it; it may be gone already.

        Raises:
            ModelmillError: the key lies elsewhere, or the store cannot be written.
        """
        for each in [each for each in self.keys(work_key(key)) if f"{each}/".startswith(f"{key}/")]:
            self._backend.delete(each)

    def delete_checkpoint(self, key: str) -> None:
        """Delete a checkpoint, or a mark of its run's lease; it may be gone already.

        Its blobs go with it, but for those that another checkpoint of the run names. No other manifest names them: the
        files of a checkpoint have its run's key in them.

        Raises:
            ModelmillError: the key is of something else, or the store cannot be written.
        """
        found = CHECKPOINT.fullmatch(key)
        if found is None:
            raise ModelmillError(f"{key!r} is no checkpoint, and nothing else of the store is deleted with them")
        blobs = self._checkpoint_blobs(key)
        self._backend.delete(key)
        if blobs:
            blobs.difference_update(*map(self._checkpoint_blobs, self.keys(f"{found[1]}step-")))
        for sha256 in blobs:
            self._backend.delete(blob_key(sha256))

    def _checkpoint_blobs(self, key: str) -> set[str]:
        """Return what blobs a checkpoint names; none where it is damaged or gone."""
        try:
            named = {blob["sha256"] for blob in self.get_manifest(key).get("files", {}).values()}
            return {sha256 for sha256 in named if blob_key(sha256)}
        except (ModelmillError, AttributeError, KeyError, TypeError):
            return set()

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, sorted."""
        if prefix:
            check_name(prefix.rstrip("/"))
        yield from sorted(self._backend.keys(prefix))

    def refresh(self, key: str) -> bool:
        """Let a key count as put now, so that `gc` leaves it; return whether it is there."""
        modified = self._backend.modified(key)
        if modified is None:
            return False
        return time.time() - modified < REFRESH_SECONDS or self._backend.refresh(key)

    def epoch(self) -> str:
        """Return the store's mark: what was cached against another mark no longer holds."""
        return epochs(self)[-1]

    def place(self, key: str) -> str:
        """Return where a key lies, as a person would look for it."""
        return f"{self.uri}/{key}"

    def _put(self, blob: Blob, data: bytes | Path) -> Blob:
        key = blob_key(blob.sha256)
        while True:
            if not self.refresh(key) and self._backend.put_if_absent(key, data):
                return blob
            # Else `gc` deleted it in between.
            with contextlib.suppress(NotFound):
                size = self._backend.size(key)
                if size != blob.bytes:
                    raise self._changed(key, f"{blob.bytes} bytes", f"{size} bytes")
                return blob

    def _stands(self, key: str, data: bytes) -> bytes:
        """Put bytes where there are none, and return those that lie there then, which count as put now."""
        while not self._backend.put_if_absent(key, data):
            # Else it was deleted in between.
            with contextlib.suppress(NotFound):
                there = self._backend.get(key)
                if self.refresh(key):
                    return there
        return data

    def _check_blob(self, wanted: str, found: str, size: int) -> None:
        if found != wanted:
            raise self._changed(blob_key(wanted), f"sha256 {wanted}", f"{found} ({size} bytes)")

    def _parsed(self, key: str, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except ValueError as error:
            raise self._changed(key, "a JSON object", f"{len(data)} bytes that do not parse: {error}") from error
        if not isinstance(value, dict):
            raise self._changed(key, "a JSON object", type(value).__name__)
        return value

    def _changed(self, key: str, wanted: str, found: str) -> Changed:
        return Changed(f"{self.place(key)}: was changed: should be {wanted}, is {found}; {self._way_out()}")

    def _way_out(self) -> str:
        # A new epoch makes every step a miss of the cache, so that what was deleted is made again.
        return f"delete it and {self.place(EPOCH_KEY)}, and run again: what is missing is made anew"


def open_store(uri: str | None = None) -> Store:
    """Return the store at 's3://bucket/prefix' or in a folder.

    Without a URI: what MODELMILL_STORE says, else `.modelmill/store` under the current folder. Nothing is made or
    asked until the first use.

    Raises:
        UserError: the URI names neither, or carries credentials.
    """
    uri = uri or os.environ.get(STORE_VARIABLE) or ".modelmill/store"
    return Store(*open_backend(uri, STORE_VARIABLE))
