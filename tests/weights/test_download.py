"""Downloads against a real HTTP server on this machine that misbehaves on demand."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gpen_core.errors import CheckpointError, GPENError, InputError
from gpen_core.weights import catalogue, locate, transfer
from gpen_core.weights import download as downloads
from gpen_core.weights import verify as verification
from gpen_core.weights.transfer import DownloadError, Policy

ROOT = Path(__file__).resolve().parents[2]
DATA = hashlib.shake_256(b"weights").digest(1_500_000)
SHA = hashlib.sha256(DATA).hexdigest()
POLICY = Policy(retries=3, backoff=0.01, max_backoff=0.02, timeout=5, loopback_http=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """Behaves as the first part of the path says: /cut/weights.pth cuts the connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        how = self.path.split("/")[1]
        with self.server.guard:
            self.server.asked.append((how, self.headers.get("Range")))
            count = sum(name == how for name, _ in self.server.asked)
        getattr(self, f"answer_{how}")(count)

    def log_message(self, *_: object) -> None:
        pass

    def send(self, data: bytes, *, ranges: bool = True, etag: str = '"1"', **cut: int) -> None:
        start = 0
        asked = self.headers.get("Range")
        if ranges and asked and self.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.status(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data) - start))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        body = data[start:]
        step, sent = cut.get("step", 1 << 16), 0
        while sent < min(len(body), cut.get("after", len(body))):
            try:
                self.wfile.write(body[sent : sent + step])
            except OSError:  # the client is gone, as some tests want it
                return None
            sent += step
            time.sleep(cut.get("pause_ms", 0) / 1000)
        if sent < len(body):
            self.close_connection = True
        return None

    def status(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def page(self, kind: str, code: int = 200) -> None:
        body = b"\n<!DOCTYPE html><title>Please log in</title>" + b" " * 2000
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self, _: int) -> None:
        self.send(DATA)

    def answer_file(self, _: int) -> None:
        self.send(self.server.content)

    def answer_cut(self, _: int) -> None:
        self.send(DATA, after=400_000)

    def answer_cutplain(self, count: int) -> None:
        """Cut the first time; cannot continue a file."""
        self.send(DATA, ranges=False, **({"after": 400_000} if count == 1 else {}))

    def answer_dead(self, _: int) -> None:
        self.send(DATA, after=0)

    def answer_half(self, count: int) -> None:
        """Half of it, then never again."""
        self.send(DATA, after=700_000 if count == 1 else 0)

    def answer_slow(self, _: int) -> None:
        self.send(DATA, pause_ms=40)

    def answer_drip(self, _: int) -> None:
        """Ten kilobytes a second, until the server has recovered."""
        self.send(DATA, **({} if self.server.recovered.is_set() else {"step": 500, "pause_ms": 50}))

    def answer_silent(self, _: int) -> None:
        """A third of it and then nothing, with the connection open, until it has recovered."""
        if self.server.recovered.is_set():
            return self.send(DATA)
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(DATA[:500_000])
        self.server.recovered.wait(60)
        self.close_connection = True
        return None

    def answer_mute(self, _: int) -> None:
        """Takes the request and says nothing at all."""
        if self.server.recovered.wait(60):
            self.send(DATA)

    def answer_longer(self, _: int) -> None:
        self.send(DATA + b"more")

    def answer_overrun(self, _: int) -> None:
        """Chunked, so that no length is announced, and too long."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for block in (DATA, b"more"):
            self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def answer_lie(self, _: int) -> None:
        self.send(DATA[:-1] + b"?")

    def answer_changed(self, count: int) -> None:
        """Another file since the first, cut-off answer."""
        if count == 1:
            return self.send(bytes(len(DATA)), after=400_000, etag='"old"')
        return self.send(DATA, etag='"new"')

    def answer_missing(self, _: int) -> None:
        self.page("text/plain", 404)

    def answer_busy(self, count: int) -> None:
        self.send(DATA) if count > 2 else self.status(503, Retry_After="0")

    def answer_login(self, _: int) -> None:
        self.page("text/html; charset=utf-8")

    def answer_disguised(self, _: int) -> None:
        self.page("application/octet-stream")

    def answer_moved(self, _: int) -> None:
        self.status(302, Location="/good/weights.pth")

    def answer_downgrade(self, _: int) -> None:
        self.status(302, Location="http://example.invalid/weights.pth")

    def answer_circle(self, _: int) -> None:
        self.status(302, Location="/circle/weights.pth")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.guard = threading.Lock()
        self.content = DATA
        self.recovered = threading.Event()

    def entry(self, *how: str, **changes: object) -> catalogue.Entry:
        urls = tuple(f"http://127.0.0.1:{self.server_port}/{name}/weights.pth" for name in how)
        facts = {"bytes": len(DATA), "sha256": SHA, "license": "MIT", **changes}
        return catalogue.Entry("Test", "gpen-pth", "weights.pth", urls, **facts)

    def count(self, how: str) -> int:
        return sum(name == how for name, _ in self.asked)

    def ranges(self, how: str) -> list[str | None]:
        return [span for name, span in self.asked if name == how]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("GPEN_OFFLINE", raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.recovered.set()
        server.shutdown()


def get(entry: catalogue.Entry, folder: Path, **keywords) -> downloads.Downloaded:
    return downloads.download_entry(entry, folder, **{"policy": POLICY, **keywords})


def visible(folder: Path) -> set[str]:
    """Everything: not even the file of a lock stays behind."""
    return {path.name for path in folder.iterdir()}


# --- what goes well ------------------------------------------------------------------------------


def test_a_file_arrives_whole_with_progress(server, tmp_path):
    seen = []
    done = get(server.entry("good"), tmp_path / "new" / "folder", progress=seen.append)
    assert done.path.read_bytes() == DATA
    assert (done.sha256, done.fetched, done.pinned) == (SHA, True, False)
    assert visible(done.path.parent) == {"weights.pth"}
    counts = [progress.done for progress in seen]
    assert counts == sorted(counts) and counts[-1] == seen[-1].total == len(DATA)


def test_a_file_already_there_is_used_and_not_asked_for(server, tmp_path):
    (tmp_path / "weights.pth").write_bytes(DATA)
    assert not get(server.entry("good"), tmp_path).fetched
    assert server.asked == []


def test_a_redirect_within_the_rules_is_followed(server, tmp_path):
    assert get(server.entry("moved"), tmp_path).path.read_bytes() == DATA


@pytest.mark.parametrize("how", ["cut", "cutplain", "busy", "slow"])
def test_interruptions_end_in_the_whole_file(server, tmp_path, how):
    assert get(server.entry(how), tmp_path).path.read_bytes() == DATA
    assert visible(tmp_path) == {"weights.pth"}


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    get(server.entry("cut"), tmp_path)
    spans = server.ranges("cut")
    starts = [int(span.removeprefix("bytes=").rstrip("-")) for span in spans[1:]]
    assert spans[0] is None and len(starts) == 3
    assert starts == sorted(set(starts)) and starts[0] > 0


IMPATIENT = replace(POLICY, timeout=0.3, slowest=2_000_000, patience=0.8)


@pytest.mark.parametrize("how", ["drip", "silent", "mute"])
def test_a_slow_or_silent_mirror_is_given_up_and_resumed_the_next_time(server, tmp_path, how):
    with pytest.raises(DownloadError, match="too slow; what has arrived is kept") as caught:
        get(server.entry(how), tmp_path, policy=IMPATIENT)
    assert "\n" not in str(caught.value) and server.entry(how).urls[0] in str(caught.value)
    part = tmp_path / "weights.pth.part"
    arrived = part.stat().st_size if part.exists() else 0
    assert how == "mute" or 0 < arrived < len(DATA)
    server.recovered.set()
    assert get(server.entry(how), tmp_path).path.read_bytes() == DATA
    assert server.ranges(how)[-1] == (f"bytes={arrived}-" if arrived else None)


def test_the_second_mirror_continues_what_a_slow_one_began(server, tmp_path, caplog):
    policy = replace(IMPATIENT, patience=3)  # a busy machine is slow, too
    got = get(server.entry("drip", "good"), tmp_path, policy=policy)
    assert got.path.read_bytes() == DATA and "too slow" in caplog.text
    assert server.ranges("good")[-1] is not None


def test_a_wait_of_our_own_is_not_held_against_the_mirror():
    pace = transfer._Pace(replace(POLICY, patience=0.5))
    pace.since -= 10
    pace.pause(10)
    pace.check()
    pace.since -= 1
    with pytest.raises(transfer.MirrorError, match="too slow"):
        pace.check()


def test_a_server_without_ranges_is_asked_for_everything_again(server, tmp_path):
    get(server.entry("cutplain"), tmp_path)
    assert server.count("cutplain") == 2


def test_a_file_changed_on_the_server_is_not_glued_together(server, tmp_path):
    assert get(server.entry("changed", sha256=None), tmp_path).sha256 == SHA


# --- mirrors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "HTTP 404"),
        ("dead", "gave up after 3"),
        ("longer", f"{len(DATA) + 4} bytes where {len(DATA)}"),
        ("overrun", "more than"),
        ("lie", "instead of " + SHA),
        ("login", "a proxy or a login"),
        ("disguised", "a proxy or a login"),
        ("downgrade", "only HTTPS"),
        ("circle", "circles"),
    ],
)
def test_the_next_mirror_serves_and_the_failed_one_is_named(server, tmp_path, caplog, how, says):
    assert get(server.entry(how, "good"), tmp_path).path.read_bytes() == DATA
    assert f"/{how}/weights.pth" in caplog.text and says in caplog.text
    server_alone = tmp_path / "alone"
    with pytest.raises(DownloadError, match=f"/{how}/weights.pth .*{says}") as caught:
        get(server.entry(how), server_alone)
    assert str(server_alone) in str(caught.value) and "weights.pth" in str(caught.value)
    assert not (server_alone / "weights.pth").exists()


def test_the_second_mirror_continues_what_the_first_began(server, tmp_path):
    get(server.entry("half", "good"), tmp_path)
    assert server.ranges("good")[0].startswith("bytes=") and server.count("good") == 1


def test_a_mirror_is_not_blamed_for_another_ones_bytes(server, tmp_path, caplog):
    part = tmp_path / "weights.pth.part"
    part.write_bytes(bytes(1000))
    notes = {"urls": ["https://elsewhere.invalid/x"], "validator": None, "total": len(DATA)}
    part.with_name(part.name + ".json").write_text(json.dumps(notes))
    assert get(server.entry("good"), tmp_path).sha256 == SHA
    assert server.ranges("good") == ["bytes=1000-", None]
    assert "fetching all of it" in caplog.text


# --- hashes --------------------------------------------------------------------------------------


def test_an_unknown_hash_is_pinned_on_first_use(server, tmp_path, caplog):
    done = get(server.entry("good", bytes=None, sha256=None), tmp_path)
    assert done.pinned and SHA in caplog.text
    assert json.loads((tmp_path / "gpen-pins.json").read_text()) == {"weights.pth": SHA}
    done.path.unlink()
    with pytest.raises(DownloadError, match="instead of " + SHA):
        get(server.entry("lie", bytes=None, sha256=None), tmp_path)


def test_a_wrong_file_of_the_users_is_left_alone(server, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="left alone"):
        get(server.entry("good"), tmp_path)
    assert (tmp_path / "weights.pth").read_bytes() == b"mine" and server.asked == []


def test_verify_tells_good_wrong_and_pinned_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_WEIGHTS", str(tmp_path))
    (tmp_path / "GPEN-BFR-512.pth").write_bytes(b"not it")
    (tmp_path / "GPEN-BFR-256.pth").write_bytes(b"anything")
    (tmp_path / "GPEN-BFR-1024.pth").write_bytes(DATA)
    (tmp_path / "gpen-pins.json").write_text(json.dumps({"GPEN-BFR-1024.pth": SHA}))
    states = {check.path.name: check.state for check in verification.verify()}
    assert states == {
        "GPEN-BFR-512.pth": "wrong",
        "GPEN-BFR-256.pth": "unknown",
        "GPEN-BFR-1024.pth": "ok",
    }
    with pytest.raises(InputError, match=r"GPEN-BFR-2048\.pth was not found"):
        verification.verify("GPEN-BFR-2048")


# --- consent, names, network ---------------------------------------------------------------------


def test_a_restricted_license_has_to_be_accepted(server, tmp_path):
    entry = server.entry("good", license="non-commercial", terms="For study only.")
    with pytest.raises(downloads.LicenseError, match=r"For study only.*accept this license"):
        get(entry, tmp_path)
    assert server.asked == []
    assert get(entry, tmp_path, accept_license=True).fetched


def test_offline_names_file_folder_and_addresses(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_OFFLINE", "1")
    entry = server.entry("good", "cut")
    with pytest.raises(downloads.OfflineError) as caught:
        get(entry, tmp_path)
    text = str(caught.value)
    assert all(part in text for part in (*entry.urls, str(tmp_path), "weights.pth"))
    assert server.asked == []


def test_no_network_names_the_addresses(tmp_path, monkeypatch):
    monkeypatch.delenv("GPEN_OFFLINE", raising=False)
    with Server() as gone:
        entry = gone.entry("good")
    with pytest.raises(DownloadError, match="gave up after 3") as caught:
        get(entry, tmp_path)
    assert entry.urls[0] in str(caught.value) and str(tmp_path) in str(caught.value)


def test_plain_http_is_refused_by_default(server, tmp_path):
    with pytest.raises(DownloadError, match="only HTTPS"):
        downloads.download_entry(server.entry("good"), tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    "name", ["../x.pth", "/x.pth", "a/b", "a\\b", "", ".x", "a..b", "C:x", "x\n"]
)
def test_a_file_name_cannot_leave_its_folder(name):
    with pytest.raises(InputError, match="plain name"):
        catalogue.Entry("Test", "gpen-pth", name, ())


def test_a_link_in_place_of_the_part_is_not_followed(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "weights.pth.part").symlink_to(victim)
    with pytest.raises(DownloadError, match="is a link"):
        get(server.entry("good"), tmp_path)
    assert victim.read_bytes() == b"precious"


def test_an_unknown_size_is_bounded(server, tmp_path):
    policy = Policy(retries=1, loopback_http=True, max_bytes=1000)
    with pytest.raises(DownloadError, match="above the limit of 1000"):
        downloads.download_entry(server.entry("good", bytes=None), tmp_path, policy=policy)


# --- disk, death, company ------------------------------------------------------------------------


def test_a_disk_without_room_is_noticed_beforehand(server, tmp_path, monkeypatch):
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="1 MB free"):
        get(server.entry("good"), tmp_path)
    assert not (tmp_path / "weights.pth.part").exists()


CHILD = f"""
import sys, types
from pathlib import Path
# The package's front door imports PyTorch, which takes seconds and which downloads do not need.
sys.modules["gpen_core"] = types.ModuleType("gpen_core")
sys.modules["gpen_core"].__path__ = [{str(ROOT / "gpen_core")!r}]
from gpen_core.weights import catalogue, download, transfer
url, folder, size, sha = sys.argv[1:5]
entry = catalogue.Entry(
    "Test", "gpen-pth", "weights.pth", (url,), int(size), sha, license="MIT"
)
policy = transfer.Policy(retries=2, backoff=0.01, timeout=5, loopback_http=True)
try:
    done = download.download_entry(entry, Path(folder), policy=policy)
    print("fetched" if done.fetched else "present")
except transfer.DownloadError as error:
    print(error)
"""


def child(entry: catalogue.Entry, folder: Path, limit: int | None = None) -> subprocess.Popen:
    def limit_files() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", CHILD, entry.urls[0], str(folder), str(entry.bytes), entry.sha256],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit_files if limit else None,
    )


posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and limits")


@posix
def test_a_write_that_fails_half_way_keeps_what_has_arrived(server, tmp_path):
    process = child(server.entry("good"), tmp_path, limit=700_000)
    text, _ = process.communicate(timeout=60)
    assert os.strerror(errno.EFBIG) in text and "what has arrived is kept" in text
    assert (tmp_path / "weights.pth.part").stat().st_size > 0
    assert get(server.entry("good"), tmp_path).path.read_bytes() == DATA
    assert server.ranges("good")[-1] is not None


@posix
def test_a_killed_download_is_resumed(server, tmp_path):
    process = child(server.entry("slow"), tmp_path)
    part = tmp_path / "weights.pth.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "weights.pth").exists()
    assert get(server.entry("slow"), tmp_path).path.read_bytes() == DATA
    assert int(server.ranges("slow")[-1].removeprefix("bytes=").rstrip("-")) > 100_000


def test_two_processes_fetch_a_file_once(server, tmp_path):
    processes = [child(server.entry("slow"), tmp_path) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert said == ["fetched", "present"] and server.count("slow") == 1
    assert (tmp_path / "weights.pth").read_bytes() == DATA


# --- the catalogue and the command ---------------------------------------------------------------


def test_the_catalogue_is_consistent():
    entries = catalogue.list_entries()
    assert len({entry.name.lower() for entry in entries}) == len(entries) > 15
    for entry in entries:
        assert all(url.startswith("https://") for url in entry.urls)
        assert entry.sha256 is None or (len(entry.sha256) == 64 and entry.sha256_source)
        assert entry.terms and (entry.bytes is None) == (entry.sha256 is None)
        assert catalogue.show(entry.name) == catalogue.show(entry.label) == entry


def test_the_catalogue_says_what_the_shared_facts_say(shared):
    facts = json.loads((shared / "catalogue.json").read_text())["files"]
    # The small detector is not among the shared facts: its address is facexlib's own, and its
    # hash that of the file in shared/facedetection.
    known = [e for e in catalogue.list_entries() if e.name != "RetinaFace-mobile0.25"]
    ours = [(e.bytes, e.sha256, list(e.urls)) for e in known]
    assert ours == [(fact["bytes"], fact["sha256"], fact["urls"]) for fact in facts]


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(InputError, match=r"did you mean.*GPEN-BFR-512"):
        catalogue.show("gpen-bfr512")
    assert catalogue.show("gpen-bfr-512").label == (
        "GPEN-BFR-512 (download, 284 MB, non-commercial)"
    )
    assert catalogue.show("parsing_parsenet.pth").name == "ParseNet"


def test_a_safetensors_twin_and_the_first_folder_are_preferred(tmp_path, monkeypatch):
    first, second = tmp_path / "1", tmp_path / "2"
    for path in (first / "GPEN-BFR-512.pth", second / "GPEN-BFR-512.safetensors"):
        path.parent.mkdir()
        path.write_bytes(b"x")
    monkeypatch.setenv("GPEN_WEIGHTS", str(second))
    entry = catalogue.show("GPEN-BFR-512")
    assert catalogue.find_file(entry) == second / "GPEN-BFR-512.safetensors"
    assert catalogue.find_file(entry, (first,)) == first / "GPEN-BFR-512.pth"
    assert locate.searched_folders((first,))[:2] == (first, second)
    named = {item.entry.name: item.path for item in catalogue.list_models()}
    assert named["GPEN-BFR-512"] == second / "GPEN-BFR-512.safetensors"


def test_the_command_lists_shows_and_refuses(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from gpen_core.cli.models import app

    monkeypatch.setenv("GPEN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("GPEN_OFFLINE", "1")
    run = CliRunner().invoke
    assert "GPEN-BFR-2048" in run(app, ["list"]).output
    assert "f1002c41add95b0d" in run(app, ["show", "GPEN-BFR-512"]).output
    assert str(tmp_path) in run(app, ["where"]).output
    refused = run(app, ["download", "GPEN-BFR-512"]).exception
    assert isinstance(refused, downloads.LicenseError)
    offline = run(app, ["download", "GPEN-BFR-512", "--accept-license"]).exception
    assert isinstance(offline, downloads.OfflineError) and isinstance(offline, GPENError)
    (tmp_path / "GPEN-BFR-512.pth").write_bytes(b"x")
    assert run(app, ["verify", "GPEN-BFR-512"]).exit_code == 1


def test_a_command_fetches_the_detector_only_with_consent(
    server, tmp_path, monkeypatch, capsys, facexlib_networks
):
    """The catalogue's address is this server's; all else is what a user's command does."""
    import io

    torch = pytest.importorskip("torch")
    module = facexlib_networks("detection.retinaface")
    from gpen_core.cli.app import run as gpen

    buffer = io.BytesIO()
    network = module.RetinaFace(network_name="mobile0.25", device="cpu")
    torch.save(network.state_dict(), buffer)
    server.content = buffer.getvalue()
    content = json.loads(catalogue._CATALOGUE.read_text(encoding="utf-8"))
    chosen = next(f for f in content["files"] if f["name"] == "RetinaFace-mobile0.25")
    chosen |= {"bytes": None, "sha256": None, "sha256_source": None}
    chosen["urls"] = [f"http://127.0.0.1:{server.server_port}/file/x.pth"]
    (tmp_path / "catalogue.json").write_text(json.dumps(content))
    monkeypatch.setattr(catalogue, "_CATALOGUE", tmp_path / "catalogue.json")
    monkeypatch.setattr(
        downloads, "download_entry", functools.partial(downloads.download_entry, policy=POLICY)
    )
    monkeypatch.setenv("GPEN_WEIGHTS", str(tmp_path / "weights"))

    photo, out = ROOT / "docs" / "samples" / "astronaut-damaged.jpg", tmp_path / "faces.png"
    command = ["faces", str(photo), "-o", str(out), "--detector", "retinaface-mobile0.25"]
    assert gpen(command) == 2
    assert "gpen models download RetinaFace-mobile0.25" in " ".join(capsys.readouterr().err.split())
    assert server.asked == [] and not out.exists()
    assert gpen([*command, "--accept_license"]) == 0
    assert server.count("file") == 1 and out.exists()
    assert visible(tmp_path / "weights") == {chosen["filename"], "gpen-pins.json"}
    assert gpen([*command, "--accept_license", "--overwrite"]) == 0
    assert server.count("file") == 1


def test_a_catalogues_model_is_named_by_the_command_that_lacks_it(tmp_path, monkeypatch, capsys):
    from gpen_core.cli.app import run as gpen

    monkeypatch.setenv("GPEN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("GPEN_OFFLINE", "1")
    photo = str(ROOT / "docs" / "samples" / "astronaut-damaged.jpg")
    command = ["restore", photo, "-o", str(tmp_path / "x.png"), "-m", "GPEN-BFR-512"]
    assert gpen(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Add --accept_license to download it (284 MB, non-commercial)" in said
    assert gpen([*command, "--accept_license"]) == 2
    assert "GPEN_OFFLINE is set" in " ".join(capsys.readouterr().err.split())
