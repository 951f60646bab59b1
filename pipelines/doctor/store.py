"""The store, tried with a key of its own: put, put again and be refused, read, delete."""

import contextlib
import time
import uuid

from modelmill.errors import ModelmillError, UserError
from modelmill.store import STORE_VARIABLE
from modelmill.store.backend import Backend
from modelmill.store.place import open_backend
from pipelines.doctor.finding import Doctor, Seen

GROUP = "store"
FOLDER = "doctor"
# What a probe that was killed has left behind is taken away by the next one after this.
_OLD_SECONDS = 3600
_CREDENTIALS = "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…  # of an identity that may read and write it"


def look_at_store(doctor: Doctor, uri: str) -> None:
    """Try a store: a folder, or `s3://bucket/prefix` with the environment's endpoint and credentials."""
    try:
        place, backend = open_backend(uri, STORE_VARIABLE)
    except UserError as error:
        told = str(error)
        doctor.look(GROUP, "put", lambda: Seen(saw=told, outcome="missing"), f"correct {STORE_VARIABLE}", stops=True)
        return
    probe(doctor, place, backend)


def probe(doctor: Doctor, place: str, backend: Backend) -> None:
    """Try a place for bytes with a key of its own, which is gone at the end, whatever came in between."""
    key = f"{FOLDER}/{int(time.time())}-{uuid.uuid4().hex}"
    data = b"of modelmill doctor; may be deleted\n"
    mend = _CREDENTIALS if place.startswith("s3://") else f"mkdir -p {place} && chmod u+rwx {place}"
    try:
        doctor.look(GROUP, "put", lambda: _put(backend, key, data, place), mend, stops=True)
        doctor.look(GROUP, "conditional put", lambda: _again(backend, key, place))
        doctor.look(GROUP, "read", lambda: _read(backend, key, data))
    finally:
        doctor.look(GROUP, "delete", lambda: _delete(backend, key), mend)
        if GROUP in doctor.stopped:
            # An answer that was lost may have put it all the same.
            with contextlib.suppress(ModelmillError):
                backend.delete(key)


def _put(backend: Backend, key: str, data: bytes, place: str) -> Seen:
    try:
        put = backend.put_if_absent(key, data)
    except ModelmillError as error:
        return Seen(saw=str(error), outcome="missing", mend=_other_way(str(error), place))
    if not put:
        return Seen(saw=f"{place}/{key} is taken, and was never put", outcome="missing")
    return Seen(saw=place)


def _other_way(said: str, place: str) -> str:
    """Return the command that mends what is no matter of credentials; '' for what is."""
    if "cannot be reached" in said:
        return "export AWS_ENDPOINT_URL=…  # where it answers from here: its address, or a kubectl port-forward to it"
    if "no bucket" in said:
        return (
            f"aws s3 mb s3://{place.removeprefix('s3://').partition('/')[0]}  # with --endpoint-url, unless it is AWS's"
        )
    return ""


def _again(backend: Backend, key: str, place: str) -> Seen:
    if backend.put_if_absent(key, b"another"):
        return Seen(
            saw="a second put to the same key was taken: this server ignores If-None-Match, and two runs could "
            "overwrite each other",
            outcome="missing",
            mend=f"put the store on a server that honours If-None-Match ({place} does not): AWS S3, SeaweedFS, MinIO",
        )
    return Seen(saw="a second put to the same key was refused")


def _read(backend: Backend, key: str, data: bytes) -> Seen:
    found = backend.get(key)
    if found != data:
        return Seen(saw=f"{len(data)} bytes were put, and {len(found)} others came back", outcome="missing")
    return Seen(saw=f"{len(data)} bytes, as they were put")


def _delete(backend: Backend, key: str) -> Seen:
    backend.delete(key)
    if backend.exists(key):
        return Seen(saw=f"{key} is still there after it was deleted", outcome="missing")
    old = [other for other in backend.keys(f"{FOLDER}/") if _age(other) > _OLD_SECONDS]
    for other in old:
        backend.delete(other)
    return Seen(saw="gone" if not old else f"gone, with {len(old)} of looks that were cut off")


def _age(key: str) -> float:
    began = key.rpartition("/")[2].partition("-")[0]
    return time.time() - int(began) if began.isdecimal() else 0.0
