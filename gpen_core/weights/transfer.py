"""One file over HTTPS into a `.part`: resumed, retried, from several mirrors, never trusted.

httpx carries the bytes, because resuming needs ranges: pooch starts over after every break, and
huggingface_hub resumes only from its own servers, where most mirrors here are not.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from ..errors import GPENError
from ..files import sha256

log = logging.getLogger(__name__)

_DISK_MARGIN = 32 << 20
_MAX_REDIRECTS = 8
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class DownloadError(GPENError):
    """A download failed; the text names the file, its folder, and what each mirror did."""


@dataclass(frozen=True)
class Progress:
    """How far a download is.

    Attributes:
        name: the file's name.
        done, total: bytes.

    Example:
        >>> progress = Progress("mine.pth", done=500, total=2000)
        >>> f"{progress.done / progress.total:.0%}"
        '25%'
    """

    name: str
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class Policy:
    """What a transfer may do.

    Attributes:
        retries: attempts at one mirror in a row that bring nothing.
        backoff: seconds before the second attempt, doubled each time up to `max_backoff`.
        timeout: seconds without a byte until the connection is made anew.
        slowest: bytes a second below which a mirror is given up ...
        patience: ... after so many seconds; a silent one too.
        max_bytes: largest file whose size is not known beforehand.
        loopback_http: allow plain HTTP to this machine; for servers made by a test.
    """

    retries: int = 4
    backoff: float = 1.0
    max_backoff: float = 30.0
    timeout: float = 30.0
    slowest: int = 2048
    patience: float = 60.0
    max_bytes: int = 4 << 30
    loopback_http: bool = False

    def check(self, url: str) -> None:
        """Raises MirrorError unless `url` may be asked."""
        parts = urlsplit(url)
        local = self.loopback_http and parts.hostname in _LOOPBACK
        if parts.scheme != "https" and not local:
            raise MirrorError(f"leads to {parts.scheme or 'no'} address {url}, only HTTPS is used")


@dataclass(frozen=True)
class Wanted:
    """The file to fetch: `bytes` and `sha256` are None where nobody published them."""

    filename: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None


class MirrorError(Exception):
    """This mirror cannot give the file; another may."""


class _Interrupted(Exception):
    """The transfer stopped half-way; the same mirror may go on."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class _Part:
    """The unfinished file and, beside it, where its bytes come from."""

    path: Path
    urls: list[str] = field(default_factory=list)
    validator: str | None = None
    total: int | None = None

    @property
    def notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @classmethod
    def open(cls, path: Path) -> _Part:
        part = cls(path)
        try:
            notes = json.loads(part.notes.read_text(encoding="utf-8"))
            part.urls = [str(url) for url in notes["urls"]]
            part.validator, part.total = notes["validator"], notes["total"]
        except (OSError, ValueError, KeyError, TypeError):
            part.reset()
        return part

    def reset(self) -> None:
        """Forget the bytes; the file is ours, nobody else's."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.urls, self.validator, self.total = [], None, None

    def note(self) -> None:
        notes = {key: value for key, value in asdict(self).items() if key != "path"}
        self.notes.write_text(json.dumps(notes), encoding="utf-8")


def fetch(
    wanted: Wanted,
    part_path: Path,
    progress: ProgressCallback | None = None,
    policy: Policy | None = None,
) -> str:
    """Bring the file to `part_path`, complete and verified; mirrors are tried in turn.

    Args:
        wanted: what to fetch.
        part_path: the unfinished file; one from an earlier attempt is continued.
        progress: called after every block; may raise to stop, the part stays.
        policy: timing and limits.

    Returns:
        The SHA-256 of the file.

    Raises:
        DownloadError: no mirror gave it, or the disk is full; the text says what each one did.
    """
    policy = policy or Policy()
    if part_path.is_symlink():
        raise DownloadError(f"{part_path} is a link; remove it, downloads write plain files only.")
    failures: list[str] = []
    try:
        part = _Part.open(part_path)
        with _client(policy) as client:
            transfer = _Transfer(client, wanted, part, progress, policy)
            for url in wanted.urls:
                try:
                    return transfer.whole(url)
                except MirrorError as error:
                    log.warning("%s: the mirror %s %s.", wanted.filename, url, error)
                    failures.append(f"{url} {error}")
    except OSError as error:
        raise DownloadError(
            f"{part_path}: could not be written ({error.strerror or error}); free space or "
            f"choose another folder, then repeat: what has arrived is kept."
        ) from error
    raise DownloadError("; ".join(failures) or "no address is known")


def _client(policy: Policy) -> httpx.Client:
    # Compression would make lengths and ranges mean something else than bytes of the file.
    return httpx.Client(
        timeout=min(policy.timeout, policy.patience),
        headers={"Accept-Encoding": "identity", "User-Agent": "gpen"},
        trust_env=not policy.loopback_http,
    )


@dataclass(frozen=True)
class _Transfer:
    """One file on its way: what every request of it needs."""

    client: httpx.Client
    wanted: Wanted
    part: _Part
    progress: ProgressCallback | None
    policy: Policy

    def whole(self, url: str) -> str:
        """The hash of the part, completed from one mirror and verified.

        A wrong hash is held against the mirror only if all bytes are its own: a part that began
        elsewhere, or before a crash, is fetched once more from the start.

        Raises:
            MirrorError: the mirror does not serve the file.
        """
        while True:
            pieced = self.part.size > 0
            self._complete(url)
            digest = sha256(self.part.path)
            if self.wanted.sha256 in (None, digest):
                self.part.notes.unlink(missing_ok=True)
                return digest
            self.part.reset()
            if not pieced:
                raise MirrorError(
                    f"gave a file whose SHA-256 is {digest} instead of {self.wanted.sha256}; "
                    f"it was discarded"
                )
            log.warning(
                "%s: the continued part has the wrong SHA-256 %s; fetching all of it from %s.",
                self.wanted.filename,
                digest,
                url,
            )

    def _complete(self, url: str) -> None:
        """Complete the part from one mirror, going on after interruptions that brought bytes.

        Raises:
            MirrorError: it does not serve the file, or too many attempts brought nothing.
        """
        policy, part = self.policy, self.part
        policy.check(url)
        self._forget_unless_usable(url)
        barren, pace = 0, _Pace(policy)
        while True:
            before = part.size
            try:
                return self._request(url, pace)
            except httpx.InvalidURL as error:
                raise MirrorError(f"leads to an address that cannot be read ({error})") from error
            except (httpx.TransportError, _Interrupted) as error:
                reason = str(error) or type(error).__name__
                pace.check()
                barren = 0 if part.size > before else barren + 1
                if barren >= policy.retries:
                    raise MirrorError(f"gave up after {barren} attempts ({reason})") from error
                wait = getattr(error, "wait", None)
                if wait is None:
                    wait = min(policy.backoff * 2 ** max(barren - 1, 0), policy.max_backoff)
                log.info("%s: %s after %d bytes; again in %.1f s.", url, reason, part.size, wait)
                time.sleep(wait)
                pace.pause(wait)

    def _forget_unless_usable(self, url: str) -> None:
        """Keep old bytes only where a hash will judge the whole or the same server vouches."""
        part, wanted = self.part, self.wanted
        if not part.size:
            return
        same = part.urls == [url] and part.validator is not None
        if not same and (wanted.sha256 is None or wanted.bytes is None):
            log.info(
                "%s: the unfinished part cannot be continued safely; starting over.", part.path
            )
            part.reset()
        if wanted.bytes is not None and part.size > wanted.bytes:
            part.reset()

    def _request(self, url: str, pace: _Pace) -> None:
        """One request and its redirects; writes what comes.

        Raises:
            MirrorError: the answer cannot be the file.
            _Interrupted, httpx.TransportError: it stopped before the end.
        """
        part = self.part
        offset = part.size
        if offset and offset == (self.wanted.bytes or part.total):
            return
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and part.validator and part.urls == [url]:
            headers["If-Range"] = part.validator
        target = url
        for _ in range(_MAX_REDIRECTS):
            self.policy.check(target)
            with self.client.stream("GET", target, headers=headers) as response:
                if response.has_redirect_location:
                    target = urljoin(target, response.headers["Location"])
                    continue
                return self._receive(response, url, offset, pace)
        raise MirrorError("redirects in circles")

    def _receive(self, response: httpx.Response, url: str, offset: int, pace: _Pace) -> None:
        """Write the body of an answer behind the first `offset` bytes. Raises as `_request`."""
        part = self.part
        _check_status(response, part)
        if offset and response.status_code != httpx.codes.PARTIAL_CONTENT:
            log.info("%s cannot continue a file; starting over.", url)
            part.reset()
            offset = 0
        blocks = response.iter_raw()
        first = next(blocks, b"")
        if offset == 0:
            # Before the length: "a page" says more than "2044 bytes".
            _refuse_web_page(first)
        total = _check_length(response, self.wanted, offset, self.policy)
        _check_room(part.path, total - offset)
        part.urls = [*[known for known in part.urls if known != url], url]
        part.validator, part.total = _validator(response), total
        part.note()
        with part.path.open("ab") as file:
            for block in chain((first,), blocks):
                offset += len(block)
                if offset > total:
                    raise MirrorError(f"sends more than the {total} bytes it announced")
                file.write(block)
                pace.count(len(block))
                if offset < total:
                    pace.check()
                if self.progress is not None:
                    self.progress(Progress(self.wanted.filename, offset, total))
        if offset < total:
            raise _Interrupted("the connection was cut")


def _check_status(response: httpx.Response, part: _Part) -> None:
    status = response.status_code
    if status in _TRANSIENT:
        after = response.headers.get("Retry-After", "")
        raise _Interrupted(f"HTTP {status}", min(float(after), 60.0) if after.isdigit() else None)
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.reset()
        raise _Interrupted("the unfinished part does not belong to this file")
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise MirrorError(f"answers HTTP {status} {response.reason_phrase}".rstrip())
    kind = response.headers.get("Content-Type", "").lower()
    if kind.startswith(("text/html", "application/xhtml", "application/json")):
        raise MirrorError(f"answers with a page ({kind}) instead of the file: a proxy or a login?")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise MirrorError("answers with a compressed file although none was asked for")


def _check_length(response: httpx.Response, wanted: Wanted, offset: int, policy: Policy) -> int:
    """Size of the whole file in bytes, as the server and the catalogue agree on it."""
    total = wanted.bytes
    stated: int | None = None
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        unit, _, span = response.headers.get("Content-Range", "").partition(" ")
        start, _, whole = span.partition("/")
        if unit != "bytes" or start.partition("-")[0] != str(offset):
            raise MirrorError(f"continues at another place than asked ({unit} {span})")
        stated = int(whole) if whole.isdigit() else None
    elif (length := response.headers.get("Content-Length", "")).isdigit():
        stated = int(length)
    if stated is not None and total is not None and stated != total:
        raise MirrorError(f"has a file of {stated} bytes where {total} were expected")
    total = total or stated
    if total is None:
        raise MirrorError("does not say how long the file is")
    if total > policy.max_bytes:
        raise MirrorError(f"has a file of {total} bytes, above the limit of {policy.max_bytes}")
    return total


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed + _DISK_MARGIN:
        raise DownloadError(
            f"{path.parent} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB plus a margin "
            f"of {_DISK_MARGIN / 1e6:.0f} MB are needed; free space or choose another folder."
        )


def _validator(response: httpx.Response) -> str | None:
    """What `If-Range` may hold: a strong ETag (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else None


def _refuse_web_page(block: bytes) -> None:
    if block.lstrip()[:16].lower().startswith(_WEB_PAGE):
        raise MirrorError("answers with a web page instead of the file: a proxy or a login?")
    if block.startswith(b"version https://git-lfs"):
        raise MirrorError("answers with a Git LFS pointer instead of the file")


class _Pace:
    """Gives a mirror up that stays slower than it may be, over one connection or several."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.since, self.bytes = time.monotonic(), 0

    def count(self, arrived: int) -> None:
        """Count bytes; enough of them, and the patience begins anew."""
        self.bytes += arrived
        if self.bytes >= self.policy.slowest * self.policy.patience:
            self.since, self.bytes = time.monotonic(), 0

    def pause(self, seconds: float) -> None:
        """Do not count a wait that is ours."""
        self.since += seconds

    def check(self) -> None:
        """Raises MirrorError when the patience is over."""
        seconds = time.monotonic() - self.since
        if seconds > self.policy.patience:
            raise MirrorError(
                f"sent {self.bytes} bytes in {seconds:.0f} s, which is too slow; what has arrived "
                f"is kept and continued the next time"
            )
