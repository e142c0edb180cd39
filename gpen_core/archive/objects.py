"""Object storage: S3 and what speaks like it, Google's, Azure's; through obstore."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import InputError, MissingDependencyError
from ..files import shown
from ..text import first_line, printable
from .rows import Row
from .store import Entry, Taken, join

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# The name of an object's own metadata that holds its receipt; S3 allows 2 KB of it.
_RECEIPT, _LONGEST = "gpen", 1800
_REFUSED, _PASSING = re.compile(r"status code: (4\d\d)"), ("408", "429")
_SAID = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")
_TRIES, _PAUSE, _LONGEST_PAUSE = 6, 0.5, 20.0


class Objects:
    """A bucket, or what is below a prefix of it.

    A result and its receipt, which is metadata of the object, come into being in one conditional
    request (`If-None-Match: *`), so there is never one without the other.

    Args:
        place: s3://bucket/prefix and so on; credentials and endpoints are read from the
            environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_..., AZURE_...).
    """

    def __init__(self, place: str) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise MissingDependencyError(
                'Object storage needs the package obstore: pip install "gpen[archive]".'
            ) from error
        self.place, self._obstore, self._error = place, obstore, BaseError
        settings: dict[str, Any] = {
            "client_options": {
                "timeout": "120s",
                "connect_timeout": "15s",
                "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
            },
            "retry_config": {"max_retries": 8, "retry_timeout": timedelta(seconds=180)},
        }
        try:
            self._store: Any = from_url(place, **settings)
        except (BaseError, ValueError) as error:
            raise InputError(f"{shown(place)}: {first_line(error)}; check the address.") from error

    def entries(self, below: str = "") -> Iterator[Entry]:
        last, failures = None, 0
        while True:
            try:
                pages = self._obstore.list(self._store, below or None, offset=last, chunk_size=1000)
                for page in pages:
                    for one in page:
                        version = one["e_tag"] or one["last_modified"].isoformat()
                        yield Entry(one["path"], one["size"], version)
                        last, failures = one["path"], 0
                return
            except self._error as error:
                failures += 1
                if failures == _TRIES or not _is_passing(error):
                    raise self._failed(below, error) from error
                _wait(failures - 1)  # and go on where the list was cut off

    def read(self, key: str) -> bytes:
        # A connection that is lost in the middle of a body is a new request.
        return self._tried(key, lambda: bytes(self._obstore.get(self._store, key).bytes()))

    def put(self, key: str, data: bytes, receipt: Row | None = None, *, replace: bool) -> None:
        mine = None if receipt is None else _fitting(receipt)
        attributes = None if mine is None else {_RECEIPT: mine.text()}
        mode = "overwrite" if replace else "create"

        def request() -> None:
            self._obstore.put(
                self._store, key, data, attributes=attributes, mode=mode, use_multipart=False
            )

        try:
            self._tried(key, request)
        except Taken:
            # Perhaps by this very request, whose answer was lost.
            if mine is None or self.receipt(key) != mine:
                raise

    def size_of(self, key: str) -> int | None:
        try:
            return int(self._tried(key, lambda: self._obstore.head(self._store, key))["size"])
        except FileNotFoundError:
            return None

    def receipt(self, key: str) -> Row | None:
        def attributes() -> dict[str, str]:
            return self._obstore.get(self._store, key, options={"head": True}).attributes

        try:
            text = self._tried(key, attributes).get(_RECEIPT)
        except FileNotFoundError:
            return None
        return None if text is None else Row.of_text(text)

    def remove(self, key: str) -> None:
        self._tried(key, lambda: self._obstore.delete(self._store, key))

    def _tried(self, key: str, request: Callable[[], Result]) -> Result:
        """A request, again after a pause where the network or the service failed.

        Raises:
            FileNotFoundError: there is no such object.
            Taken: there is one, and there should be none.
            InputError: refused, or failed too often.
        """
        from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

        for attempt in range(_TRIES):
            try:
                return request()
            except (NotFoundError, FileNotFoundError) as error:
                raise _Missing(f"{shown(join(self.place, key))}: no such object.") from error
            except (AlreadyExistsError, PreconditionError) as error:
                name = shown(join(self.place, key))
                raise Taken(f"{name} exists already.", remedy="overwrite") from error
            except self._error as error:
                if attempt + 1 == _TRIES or not _is_passing(error):
                    raise self._failed(key, error) from error
                log.info("%s: %s; trying again.", key, _words(error))
                _wait(attempt)
        raise AssertionError("the last attempt has returned or raised")

    def _failed(self, key: str, error: Exception) -> InputError:
        return InputError(f"{shown(join(self.place, key))}: {_words(error)}.")


class _Missing(InputError, FileNotFoundError):
    """There is no such object."""


def _wait(attempt: int) -> None:
    """Longer each time, and not for as long as everybody else."""
    time.sleep(min(_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1))


def _is_passing(error: Exception) -> bool:
    """Whether an error may be gone the next time: not a lack of rights, not a wrong name."""
    if type(error).__name__ not in ("GenericError", "JoinError"):
        return False
    refused = _REFUSED.search(str(error))
    return refused is None or refused[1] in _PASSING


def _words(error: Exception) -> str:
    """What the service says in its answer, or what the library says of it."""
    said = _SAID.search(str(error))
    return printable(": ".join(said.groups())).rstrip(".") if said else first_line(error)


def _fitting(receipt: Row) -> Row:
    """A receipt that is short enough: without events, then without the place."""
    quiet = replace(receipt, events=[])
    for short in (receipt, quiet, replace(quiet, place="")):
        if len(short.text()) <= _LONGEST:
            return short
    raise InputError(f"{shown(receipt.key)}: the name is too long for object storage.")
