"""Which failures of a remote store end the attempt, and as which error; all others are tried again."""

from __future__ import annotations

import errno

from mmidd.errors import DataError, MissingExtra, MmiddError, UsageError

_INSTALL = {
    "s3": "mmidd[s3]",
    "s3a": "mmidd[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "abfs": "adlfs",
    "az": "adlfs",
}
_S3 = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true if public"
_GS = "set GOOGLE_APPLICATION_CREDENTIALS, or FSSPEC_GS_TOKEN=anon if public"
_CREDENTIALS = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GS,
    "gcs": _GS,
    "hf": "set HF_TOKEN to a token that may read it",
}
_DENIED = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "DefaultCredentialsError",
    "RefreshError",
    "GatedRepoError",
    "LocalTokenNotFoundError",
}
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_REFUSED = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EREMCHG, errno.ENAMETOOLONG, errno.EMSGSIZE}
_TRANSIENT_STATUS = {408, 425, 429}


def permanent(error: BaseException, url: str) -> MmiddError | None:
    """The error that a failure with `url` amounts to, or None where another attempt may succeed.

    Raises:
        BaseException: `error` itself, where it is no failure of the store but a defect of the program.
    """
    status = _status(error)
    if isinstance(error, _MISSING) or status in (404, 410):
        return DataError("missing", url)
    if isinstance(error, PermissionError) or type(error).__name__ in _DENIED or status in (401, 403):
        return UsageError(f"no access to {url} ({reason(error)}); {_advice(url)}")
    if isinstance(error, ImportError):
        return missing_package(url, error)
    if isinstance(error, NotImplementedError):
        return UsageError(f"cannot write to {url}: {protocol(url)}:// is for reading; name another place")
    if _refused(error, status):
        return UsageError(f"{url} was refused ({reason(error)}); check the URL and the options of the store")
    if type(error).__module__ == "builtins" and not isinstance(error, (OSError, EOFError)):
        raise error
    return None


def missing_package(url: str, error: ImportError) -> MissingExtra:
    """The error for a protocol whose package is not installed."""
    package = _INSTALL.get(protocol(url))
    advice = f"run `pip install '{package}'`" if package else reason(error)
    return MissingExtra(f"{protocol(url)}:// needs another package; {advice}")


def beyond_end(error: BaseException) -> bool:
    """Whether a store may have answered so because a range lies behind the end of the file."""
    return getattr(error, "errno", None) == errno.EINVAL or _status(error) == 416


def protocol(url: str) -> str:
    """The protocol of a URL, of the outermost one in a chain."""
    return url.split("://")[0].split("::")[0]


def reason(error: BaseException) -> str:
    """One line that says what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _advice(url: str) -> str:
    known = _CREDENTIALS.get(protocol(url))
    return known or f"set the credentials that fsspec's {protocol(url)}:// takes"


def _refused(error: BaseException, status: int | None) -> bool:
    if status is not None:
        return (400 <= status < 500 and status not in _TRANSIENT_STATUS) or status in (501, 505)
    return isinstance(error, OSError) and error.errno in _REFUSED


def _status(error: BaseException) -> int | None:
    """The HTTP status in an exception of aiohttp, gcsfs, requests or httpx."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status", "status_code", "code"):
            if isinstance(value := getattr(holder, name, None), int):
                return value
    return None
