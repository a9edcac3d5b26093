"""Where data may lie: a folder of this machine, or a place that a URL names."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticCustomError

SECRET = "secret_in_url"  # type of the fault whose value must not be shown

# What pip installs for a protocol; nothing for those that need no library of their own. Protocols
# that open archives or wrap others (zip, simplecache ...) are left out on purpose.
STORES = {
    **dict.fromkeys(("s3", "s3a"), "cuecheck[s3]"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
    **dict.fromkeys(("http", "https"), "fsspec[http]"),
    **dict.fromkeys(("sftp", "ssh"), "fsspec[ssh]"),
    "oci": "ocifs",
    "oss": "ossfs",
    "memory": "",
}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def checked_root(value: object) -> object:
    """A URL as text, less its last slashes; any other text as a path.

    ``file:///a/folder`` is a folder of this machine, so it becomes a path.

    Raises
    ------
    ValueError
        If a URL holds a password, a token or a query, which could be a secret, or its protocol is
        not known.

    Examples
    --------
    >>> checked_root("s3://bucket/scans/")
    's3://bucket/scans'
    """
    found = _URL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return Path(value) if isinstance(value, str) else value
    protocol, rest = found[1].lower(), found[2]
    # Of HTTP a name alone is a secret too: many servers take a token for it.
    a_token = protocol in ("http", "https") and "@" in rest.partition("/")[0]
    if a_token or "?" in rest or ":" in rest.rpartition("@")[0]:
        raise PydanticCustomError(
            SECRET,
            "a URL must hold no password, token or query, which would be kept in the run folder; "
            "credentials come from the environment or the protocol's own configuration",
        )
    if "::" in rest or "\\" in rest or "\0" in rest or ".." in rest.split("/"):
        raise ValueError("a URL must name one place, without '::', '..' and backslashes")
    if protocol in {"file", "local"}:
        if not rest.startswith("/"):
            raise ValueError("a file URL must be absolute, as in file:///a/folder; or give a path")
        return Path(rest)
    if protocol not in STORES:
        raise ValueError(f"unknown protocol '{protocol}'; known are: file, {', '.join(STORES)}")
    if protocol != "memory" and not rest.strip("/"):
        raise ValueError("a URL must name a bucket or host, as in s3://bucket/folder")
    return f"{protocol}://{rest.rstrip('/')}"
