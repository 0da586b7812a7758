"""Object stores for kept photos, through fsspec: S3 and what speaks it, Google, Azure. Folders need none.

Keys come from the environment alone: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a file of credentials,
a pod's role. What a store answers may name the bucket, the key's id and the estimate: it is told when the
service starts, to the operator, and never afterwards.
"""

from typing import Any, Final

from weft.errors import StoreError

# scheme -> (what brings its client, options of the client)
_CLIENTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "s3": (
        "weft[s3]",
        # A store that is gone must end in a 503 while the sender still waits, not after minutes of retries.
        {"config_kwargs": {"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 2}}},
    ),
    "gs": ("gcsfs", {}),
    "az": ("adlfs", {}),
}


def is_object(address: str) -> bool:
    return "://" in address


def check_url(place: str) -> None:
    """Raise StoreError unless `place` is a URL of a kind of store that is known, without keys in it."""
    scheme, _, rest = place.partition("://")
    if scheme not in _CLIENTS:
        raise StoreError(
            f"photos cannot be kept in a store of kind {scheme[:20]!r}; "
            "name a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        )
    if set(rest) & set("@?#:"):  # the place is shown when the service starts: it may hold no secret
        raise StoreError(
            f"the place of kept photos may only be {scheme}://BUCKET/PREFIX; keys and endpoint go into the "
            "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)"
        )
    if not rest.strip("/"):
        raise StoreError(f"{place} names no bucket; write {scheme}://BUCKET/PREFIX")


def write_object(address: str, data: bytes) -> None:
    """Whole or not at all, as stores of objects do it. StoreError where it cannot be done."""
    try:
        _files(address).pipe_file(address, data)
    except Exception as error:  # every store's client has errors of its own
        raise StoreError(
            f"a photo cannot be kept ({type(error).__name__}); check the object store"
        ) from error


def read_object(address: str) -> bytes | None:
    """The object's bytes; None where there is none.

    Raises:
        StoreError: The store cannot be asked.
    """
    try:
        return _files(address).cat_file(address)
    except FileNotFoundError:
        return None
    except Exception as error:
        raise StoreError(
            f"a kept photo cannot be read ({type(error).__name__}); check the object store"
        ) from error


def remove_object(address: str) -> None:
    """Remove it; one that is gone already is no error. StoreError where the store cannot be asked."""
    try:
        _files(address).rm_file(address)
    except FileNotFoundError:
        return
    except Exception as error:
        raise StoreError(
            f"a kept photo cannot be removed ({type(error).__name__}); check the object store"
        ) from error


def probe_store(place: str, name: str) -> None:
    """Write, read and remove one small object, or raise StoreError with what the store says."""
    address = f"{place.rstrip('/')}/{name}"
    try:
        files = _files(address)
        files.pipe_file(address, b"weft")
        files.cat_file(address)
        files.rm_file(address)
    except StoreError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
        raise StoreError(
            f"photos cannot be kept in {place} ({said}); check the bucket, and the keys "
            "and AWS_ENDPOINT_URL in the environment"
        ) from error


def _files(address: str) -> Any:
    """The store's client. fsspec keeps one for each kind, safe for several threads."""
    scheme = address.partition("://")[0]
    brings, options = _CLIENTS[scheme]
    try:
        import fsspec  # an extra: without an object store nothing needs it

        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError as error:
        raise StoreError(f"{scheme}:// needs {brings}; install it: pip install '{brings}'") from error
