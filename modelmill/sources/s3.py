"""Sources in S3: one object, or all objects under a prefix.

Endpoint, region and credentials are boto3's own: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the like, a profile, or the
machine's role. Nothing of them enters a message.
"""

import os
import time
from functools import lru_cache
from typing import Any

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.stream import RawStream, SourceFile

_ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}
_CHANGED = {"412", "PreconditionFailed", "404", "NoSuchKey"}
_REFUSED = {"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
# Broken connections in a row, with no byte between them, before a read is given up: 0.2 to 3.2 s of waiting each.
_ATTEMPTS = 5


def list_objects(uri: str) -> list[SourceFile]:
    """Return the object of a URI, or those under a prefix that ends in '/', with their ETags.

    Raises:
        UserError: there is no such object or bucket, or access is refused.
        ModelmillError: S3 cannot be reached.
    """
    bucket, key = _split(uri)
    try:
        client = _client()
        if key.endswith("/") or not key:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
            found = [item for page in pages for item in page.get("Contents", ()) if _shown(item["Key"], key)]
            return [_file(bucket, item["Key"], item["Key"][len(key) :], item["Size"], item["ETag"]) for item in found]
        head = client.head_object(Bucket=bucket, Key=key)
    except _errors() as error:
        raise _explained(uri, error) from error
    return [_file(bucket, key, key.rpartition("/")[2], head["ContentLength"], head["ETag"])]


class S3Stream(RawStream):
    """An object of S3; each request asks for the very object that was listed, and a broken one goes on where it was."""

    def __init__(self, file: SourceFile) -> None:
        super().__init__(file)
        self._bucket, self._key = _split(file.uri)
        self._etag = file.fingerprint.removeprefix("etag:")
        self._client = _client()
        self._body: Any = None

    def _fill(self, view: memoryview) -> int:
        if self.taken >= self.file.bytes or not len(view):
            return 0
        for attempt in range(_ATTEMPTS):
            try:
                if self._body is None:
                    self._body = self._open()
                data = self._body.read(min(len(view), 1 << 20))
                view[: len(data)] = data
                return len(data)
            except _errors() as error:
                self._drop()
                if _code(error) in _CHANGED:
                    raise self._changed() from error
                if _code(error) or attempt == _ATTEMPTS - 1:
                    raise _explained(self.file.uri, error) from error
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("every attempt returns or raises")

    def _open(self) -> Any:
        # A range beyond the first byte continues what broke off; If-Match keeps it the same object.
        ranged = {"Range": f"bytes={self.taken}-"} if self.taken else {}
        return self._client.get_object(Bucket=self._bucket, Key=self._key, IfMatch=self._etag, **ranged)["Body"]

    def _check_end(self) -> None:
        if self.taken != self.file.bytes:
            raise self._changed()

    def _changed(self) -> ModelmillError:
        return ModelmillError(
            f"{self.file.uri}: changed while it was read ({self.taken} of {self.file.bytes} bytes had come); run again"
        )

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self._drop()
        super().close()


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _shown(key: str, prefix: str) -> bool:
    parts = key[len(prefix) :].split("/")
    # A key that ends in '/' is the marker of a folder.
    return bool(parts[-1]) and not any(part.startswith((".", "_")) for part in parts)


def _file(bucket: str, key: str, name: str, size: int, etag: str) -> SourceFile:
    return SourceFile(uri=f"s3://{bucket}/{key}", name=name, bytes=size, fingerprint=f"etag:{etag}")


def _client() -> Any:
    # One for all objects: to make one takes 0.1 s. Not shared with a forked child, nor kept when AWS_* change.
    return _client_for(os.getpid(), tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=4)
def _client_for(_process: int, _environment: tuple[tuple[str, str], ...]) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60)
    return boto3.session.Session().client("s3", config=config)


def _errors() -> tuple[type[Exception], ...]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return Boto3Error, BotoCoreError, ClientError


def _code(error: Exception) -> str:
    """Return what the server answered, or '' where no answer came."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _explained(uri: str, error: Exception) -> ModelmillError:
    """Return an error that names the source and the way out, without what boto3 knows of hosts and keys."""
    from botocore.exceptions import NoCredentialsError, ParamValidationError, PartialCredentialsError

    code = _code(error)
    if code in _ABSENT:
        return UserError(f"{uri}: no such object ({code}); correct it, or end it with '/' for all under a prefix")
    if code in _REFUSED:
        return UserError(f"{uri}: access refused ({code}); check AWS_ACCESS_KEY_ID, its secret and the bucket's policy")
    if code:
        return ModelmillError(f"{uri}: S3 answered {code}; run again, or ask the server's log")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return UserError(f"{uri}: no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role")
    if isinstance(error, ParamValidationError):
        return UserError(f"{uri}: not the name of a bucket and object; correct it")
    return ModelmillError(
        f"{uri}: S3 cannot be reached ({type(error).__name__}); check AWS_ENDPOINT_URL and the network"
    )
