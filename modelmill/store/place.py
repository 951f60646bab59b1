"""Where bytes lie: a folder of this machine, or a prefix of an S3 bucket."""

from pathlib import Path
from urllib.parse import urlsplit

from modelmill.errors import UserError
from modelmill.store.backend import Backend, is_name
from modelmill.store.local import LocalBackend


def open_backend(uri: str, said_by: str, temporary: str = "tmp") -> tuple[str, Backend]:
    """Return a place for bytes, a folder or 's3://bucket/prefix', and its plain URI; `said_by` names it in messages.

    Raises:
        UserError: the URI names neither, or carries credentials.
    """
    if "://" not in uri:
        root = Path(uri).expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise UserError(f"{root}: {said_by} must be a folder, and this is a file; correct it")
        return str(root), LocalBackend(root, temporary)
    parts = urlsplit(uri)
    # Never echoed: what is wrong with the URI may be a secret in it.
    if "@" in uri or parts.query or parts.fragment:
        raise UserError(
            f"{said_by}: its URI carries credentials or options; write s3://bucket/prefix and set AWS_* for them"
        )
    if parts.scheme != "s3" or not parts.netloc:
        raise UserError(f"{uri}: {said_by} is neither a folder nor s3://bucket/prefix; write one of them")
    from modelmill.store.s3 import S3Backend

    prefix = parts.path.strip("/")
    if prefix and not is_name(prefix):
        raise UserError(f"{uri}: {prefix!r} cannot be a prefix; use plain ASCII characters between single slashes")
    return f"s3://{parts.netloc}/{prefix}".rstrip("/"), S3Backend(parts.netloc, prefix)
