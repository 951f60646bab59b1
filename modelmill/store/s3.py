"""A store in an S3 bucket, on any server that honours `If-None-Match: *`.

Endpoint, region and credentials are boto3's own: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the like, a profile, or the
machine's role. Nothing of them enters a message.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelmill.errors import ModelmillError, UserError
from modelmill.store.backend import Entry, NotFound

_MB = 1 << 20
# A part is held in memory while it is sent: 4 at a time make 128 MB at most.
_PART_BYTES = 32 * _MB
_PART_THREADS = 4
# S3 takes at most 10,000 parts (Amazon S3 user guide, "multipart upload limits").
_MAX_PARTS = 10_000
_ATTEMPTS = 5
# One call copies 5 GB at most (Amazon S3 API reference, CopyObject).
_COPY_BYTES = 4 << 30
_COPY_PART_BYTES = 1 << 30

_ABSENT = {"404", "NoSuchKey", "NoSuchUpload", "NotFound"}
_TAKEN = {"412", "PreconditionFailed"}
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
_REFUSED = {"401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"} | {
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "Unauthorized",
}


class S3Backend:
    """Keys are the objects under a prefix of a bucket; the bucket is first asked for at the first use."""

    def __init__(self, bucket: str, prefix: str, part_bytes: int = _PART_BYTES) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.part_bytes = part_bytes
        self._client_of_process: tuple[int, Any] | None = None

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        """Put by `If-None-Match: *`, in parts where the data are larger than one."""
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        with self._explained(key):
            try:
                if isinstance(data, Path) and size > self.part_bytes:
                    self._put_parts(key, data, size)
                elif isinstance(data, Path):
                    with data.open("rb") as file:
                        self._call("put_object", key, Body=file, IfNoneMatch="*")
                else:
                    self._call("put_object", key, Body=data, IfNoneMatch="*")
            except _client_error() as error:
                if _code(error) in _TAKEN:
                    return False
                raise
        return True

    def _put_parts(self, key: str, path: Path, size: int) -> None:
        """Send a file part by part, at most a few parts in memory; nothing shows before the last call.

        Amazon's S3 lets one of several writers win here too. SeaweedFS 4.48 refuses a key that is taken, but of
        writers that end at the same moment several may win: harmless for blobs, which are named by their content.
        """
        part_bytes = max(self.part_bytes, -(-size // _MAX_PARTS))
        upload = self._call("create_multipart_upload", key)["UploadId"]
        try:
            with ThreadPoolExecutor(_PART_THREADS) as threads:
                send = partial(self._send_part, key, path, upload, part_bytes)
                parts = list(threads.map(send, range(-(-size // part_bytes))))
            self._call(
                "complete_multipart_upload", key, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:
            # What is left behind would be billed, and is never seen by a listing; the first error is the one to tell.
            with contextlib.suppress(Exception):
                self._call("abort_multipart_upload", key, UploadId=upload)
            raise

    def _send_part(self, key: str, path: Path, upload: str, part_bytes: int, index: int) -> dict[str, Any]:
        with path.open("rb") as file:
            file.seek(index * part_bytes)
            body = file.read(part_bytes)
        sent = self._call("upload_part", key, UploadId=upload, PartNumber=index + 1, Body=body)
        return {"PartNumber": index + 1, "ETag": sent["ETag"]}

    def get(self, key: str) -> bytes:
        """Return the bytes of a key; an answer that breaks off is asked for again."""
        with self._explained(key):
            # boto3 retries what fails before the body, and only that.
            for attempt in range(_ATTEMPTS):
                try:
                    data: bytes = self._call("get_object", key)["Body"].read()
                except _broken_off():
                    if attempt + 1 == _ATTEMPTS:
                        raise
                else:
                    return data
        raise AssertionError("unreachable: the last attempt returns or raises")

    def fetch(self, key: str, path: Path) -> None:
        """Download a key to a file, several ranges at a time where it is large."""
        with self._explained(key):
            self._client().download_file(self.bucket, self.prefix + key, str(path))

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""
        try:
            self.size(key)
        except NotFound:
            return False
        return True

    def size(self, key: str) -> int:
        """Return the size of a key in bytes."""
        with self._explained(key):
            size: int = self._call("head_object", key)["ContentLength"]
            return size

    def delete(self, key: str) -> None:
        """Delete a key; S3 answers the same whether it was there or not."""
        with self._explained(key):
            self._call("delete_object", key)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, in the server's order: not every server sorts by the whole key."""
        with self._explained(prefix):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for item in page.get("Contents", []):
                    yield item["Key"].removeprefix(self.prefix)

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the keys that start with a prefix with size and time, a page of the server's at a time."""
        with self._explained(prefix):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for item in page.get("Contents", []):
                    key = item["Key"].removeprefix(self.prefix)
                    yield Entry(key=key, bytes=item["Size"], modified=item["LastModified"].timestamp())

    def modified(self, key: str) -> float | None:
        """Return when an object was put or last refreshed."""
        try:
            with self._explained(key):
                modified: float = self._call("head_object", key)["LastModified"].timestamp()
                return modified
        except NotFound:
            return None

    def refresh(self, key: str) -> bool:
        """Copy an object onto itself, which S3 allows where its metadata are said anew; no byte leaves the server."""
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(multipart_threshold=_COPY_BYTES, multipart_chunksize=_COPY_PART_BYTES)
        source = {"Bucket": self.bucket, "Key": self.prefix + key}
        try:
            with self._explained(key):
                more = {"MetadataDirective": "REPLACE"}
                self._client().copy(source, self.bucket, self.prefix + key, ExtraArgs=more, Config=config)
        except NotFound:
            return False
        return True

    def now(self) -> float:
        """Return the server's time."""
        with self._explained(""):
            answer = self._client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(said).timestamp() if said else time.time()

    def delete_older(self, key: str, than: float) -> bool:
        """Look at an object's time, and delete it right after.

        S3 deletes on no condition on time, so one that is refreshed in the milliseconds between is deleted too.
        """
        modified = self.modified(key)
        if modified is None or modified >= than:
            return False
        self.delete(key)
        return True

    def unfinished(self) -> Iterator[Entry]:
        """Yield the uploads in parts that were neither ended nor given up; their size S3 does not tell."""
        with self._explained(""):
            pages = self._client().get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Uploads", []):
                    key, begun = item["Key"].removeprefix(self.prefix), item["Initiated"].timestamp()
                    yield Entry(key=key, bytes=0, modified=begun, upload=item["UploadId"])

    def delete_unfinished(self, entry: Entry) -> None:
        """Give an upload up."""
        with contextlib.suppress(NotFound), self._explained(entry.key):
            self._call("abort_multipart_upload", entry.key, UploadId=entry.upload)

    def file(self, key: str) -> Path | None:  # noqa: ARG002  objects are no files
        """Return None: an object is not a file of this machine."""
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # A client cannot be pickled; the other process makes its own.
        return (S3Backend, (self.bucket, self.prefix.rstrip("/"), self.part_bytes))

    def _call(self, operation: str, key: str, **arguments: Any) -> dict[str, Any]:
        call = getattr(self._client(), operation)
        answer: dict[str, Any] = call(Bucket=self.bucket, Key=self.prefix + key, **arguments)
        return answer

    def _client(self) -> Any:
        """Return this process's client: one made before a fork would share its connections with the parent."""
        if self._client_of_process is None or self._client_of_process[0] != os.getpid():
            import boto3
            from botocore.config import Config

            config = Config(
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=32,
            )
            # A session of its own: the default one is shared and not safe among threads.
            try:
                client = boto3.session.Session().client("s3", config=config)
            except ValueError as error:
                # Not repeated: it may hold a password.
                raise UserError("AWS_ENDPOINT_URL is no web address; write it like http://host:8333") from error
            if urlsplit(client.meta.endpoint_url).username is not None:
                raise UserError("AWS_ENDPOINT_URL carries credentials; take them out and set AWS_ACCESS_KEY_ID instead")
            self._client_of_process = (os.getpid(), client)
        return self._client_of_process[1]

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn what boto3 raises into an error that names bucket, key and the way out."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._refusal(key, _code(error), error) from error
        except (BotoCoreError, Boto3Error) as error:
            raise self._failure(key, error) from error

    def _refusal(self, key: str, code: str, error: Any) -> ModelmillError:
        """Return the error for what the server answered."""
        place = f"s3://{self.bucket}/{self.prefix}{key}"
        if code in _NO_BUCKET:
            return UserError(f"{place}: no bucket {self.bucket!r} ({code}); create it or correct MODELMILL_STORE")
        if code in _ABSENT:
            return NotFound(f"{place}: not in the store; run the step that makes it again, or correct the store")
        if code in _REFUSED:
            advice = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the role, and the bucket's policy"
            return UserError(f"{place}: {error.operation_name} was refused ({code}); {advice}")
        return ModelmillError(f"{place}: {error.operation_name} failed ({code}); run again, or ask the server's log")

    def _failure(self, key: str, error: Exception) -> ModelmillError:
        """Return the error for what never reached the server, or never came back."""
        from botocore import exceptions

        place = f"s3://{self.bucket}/{self.prefix}{key}"
        if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
            return UserError(f"{place}: no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role")
        if isinstance(error, exceptions.ParamValidationError):
            return UserError(f"{place}: {self.bucket!r} is no name of a bucket; correct MODELMILL_STORE")
        if isinstance(error, _broken_off()):
            return ModelmillError(f"{place}: the answer broke off, {_ATTEMPTS} times; run again, or check the network")
        if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
            unreachable = f"{self._client().meta.endpoint_url} cannot be reached ({type(error).__name__})"
            return ModelmillError(f"{place}: {unreachable}; check AWS_ENDPOINT_URL and the network")
        return ModelmillError(f"{place}: {type(error).__name__}; check the AWS_* variables and run again")


def _client_error() -> Any:
    from botocore.exceptions import ClientError

    return ClientError


def _broken_off() -> tuple[Any, ...]:
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    return (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
