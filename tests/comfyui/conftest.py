"""A real ComfyUI: in this process, and as a server over HTTP.

The host is found by COMFYUI_DIR, or because this project stands in its `custom_nodes`. Run these
tests with the host's own Python, by the command `pytest` (`python -m pytest` would put this
project's `nodes` package in front of the host's module of that name).
"""

from __future__ import annotations

import asyncio
import http.server
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "docs" / "samples"
_SERVER_START_SECONDS = 180


def _host_folder() -> Path | None:
    named = os.environ.get("COMFYUI_DIR")
    if named:
        return Path(named).resolve()
    # Unresolved on purpose: the project is often linked into custom_nodes.
    here = Path(os.environ.get("PWD", ".")).absolute()
    for folder in (here, *here.parents, *ROOT.parents):
        if folder.name == "custom_nodes" and (folder.parent / "main.py").is_file():
            return folder.parent
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.comfyui)


@pytest.fixture(scope="session")
def host_folder() -> Path:
    """The host's folder, or a skip that says how to name one."""
    folder = _host_folder()
    if folder is None:
        pytest.skip("no ComfyUI host: set COMFYUI_DIR, or run from its custom_nodes folder")
    if not (folder / "main.py").is_file():
        pytest.skip(f"COMFYUI_DIR={folder} holds no main.py")
    for name in ("aiohttp", "einops", "transformers", "comfyui_frontend_package"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"this Python lacks the host's requirement {name}; use the host's own")
    return folder


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh base folder (models, input, output, custom_nodes) with pictures and model files."""
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("custom_nodes", "input", "output", "temp", "user", "models/gpen"):
        (base / name).mkdir(parents=True)
    (base / "models" / "facerestore_models").mkdir()
    (base / "custom_nodes" / "gpen").symlink_to(ROOT, target_is_directory=True)
    _write_pictures(base / "input")
    return base


def _write_pictures(folder: Path) -> None:
    for sample in SAMPLES.glob("*.jpg"):
        shutil.copy(sample, folder / sample.name)
    portrait = Image.open(SAMPLES / "astronaut-damaged.jpg").convert("RGB")
    alpha = Image.linear_gradient("L").resize(portrait.size)
    portrait.putalpha(alpha)
    portrait.save(folder / "portrait-rgba.png")
    y, x = np.mgrid[0:120, 0:160]
    no_face = np.stack([x, y * 2, (x + y) % 256], -1).astype(np.uint8)
    Image.fromarray(no_face).save(folder / "no-face.png")


# --- the host in this process --------------------------------------------------------------------


@dataclass
class Outcome:
    """What a prompt came to."""

    success: bool
    errors: list[str]
    values: dict[str, list]
    """What the Capture nodes were given, by their `name`."""
    ran: list[str]
    """Ids of the nodes that were executed rather than taken from the host's cache."""
    events: list[tuple[str, dict]] = field(default_factory=list)


class Host:
    """The executor of the host, with a stand-in for its web server."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        self.values: dict[str, list] = {}
        self.feeds: dict[str, object] = {}
        self.sent: list[tuple[str, dict]] = []
        self.on_event = lambda event, data: None
        self.nodes, self.execution = self._import()
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._load_nodes())
        self._register_test_nodes()
        self.executor = self.new_executor()

    def _import(self) -> tuple[ModuleType, ModuleType]:
        # The repository must not be importable: its `nodes` would hide the host's.
        sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
        sys.path.insert(0, str(self.folder))
        importlib.import_module("comfy.options").enable_args_parsing(False)
        args = importlib.import_module("comfy.cli_args").args
        args.cpu, args.base_directory = not torch.cuda.is_available(), str(self.base)
        importlib.import_module("utils.install_util")
        nodes = importlib.import_module("nodes")
        assert Path(nodes.__file__).parent == self.folder
        return nodes, importlib.import_module("execution")

    async def _load_nodes(self) -> None:
        await self.nodes.init_public_apis()
        assert await self.nodes.load_custom_node(str(self.base / "custom_nodes" / "gpen"))
        for name in (
            "nodes_upscale_model",
            "nodes_images",
            "nodes_mask",
            "nodes_rebatch",
            "nodes_preview_any",
            "nodes_compositing",
            "nodes_rtdetr",
            "nodes_sdpose",
        ):
            path = self.folder / "comfy_extras" / f"{name}.py"
            if path.is_file():
                await self.nodes.load_custom_node(str(path), module_parent="comfy_extras")

    def _register_test_nodes(self) -> None:
        host = self

        class Capture:
            INPUT_TYPES = classmethod(
                lambda cls: {"required": {"name": ("STRING",), "value": ("*",)}}
            )
            VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
            RETURN_TYPES, FUNCTION, OUTPUT_NODE = (), "run", True
            IS_CHANGED = classmethod(lambda cls, **_: float("nan"))

            def run(self, name: str, value: object) -> tuple:
                host.values.setdefault(name, []).append(value)
                return ()

        class Feed:
            INPUT_TYPES = classmethod(lambda cls: {"required": {"name": ("STRING",)}})
            RETURN_TYPES, FUNCTION = ("IMAGE",), "run"
            IS_CHANGED = classmethod(lambda cls, name: str(id(host.feeds.get(name))))

            def run(self, name: str) -> tuple:
                return (host.feeds[name],)

        feeds = {
            f"Test_Feed{name}": type(f"Feed{name}", (Feed,), {"RETURN_TYPES": (kind,)})
            for name, kind in {
                "": "IMAGE",
                "Mask": "MASK",
                "Boxes": "BOUNDING_BOX",
                "Landmarks": "FACE_LANDMARKS",
                "Segs": "SEGS",
                "Pose": "POSE_KEYPOINT",
                "Video": "VIDEO",
            }.items()
        }
        self.nodes.NODE_CLASS_MAPPINGS |= {"Test_Capture": Capture} | feeds

    def new_executor(self, ram_pressure: bool = False):
        """A fresh executor, as after a start of the host: nothing is cached."""
        server = SimpleNamespace(
            client_id="test",
            last_node_id=None,
            last_prompt_id=None,
            sockets_metadata={},
            send_sync=self._send,
        )
        types = self.execution.CacheType
        parameters = self.execution.PromptExecutor.__init__.__code__.co_varnames
        if "cache_args" in parameters:
            kind = types.RAM_PRESSURE if ram_pressure else types.CLASSIC
            cache = {"lru": 0, "ram": 16.0, "ram_inactive": 16.0}
            return self.execution.PromptExecutor(server, cache_type=kind, cache_args=cache)
        return self.execution.PromptExecutor(server, cache_type=types.CLASSIC, cache_size=0)

    def _send(self, event: str, data: dict, client: str | None = None) -> None:
        self.sent.append((event, data))
        self.on_event(event, data)

    def validate(self, prompt: dict) -> tuple[bool, str]:
        """Whether the host takes the prompt, and what it says otherwise."""
        ok, error, _, node_errors = self.loop.run_until_complete(
            self.execution.validate_prompt(str(uuid.uuid4()), prompt, None)
        )
        return ok, json.dumps([error, node_errors], default=str)

    def run(self, prompt: dict) -> Outcome:
        """Validate and execute."""
        prompt_id = str(uuid.uuid4())
        ok, error, outputs, node_errors = self.loop.run_until_complete(
            self.execution.validate_prompt(prompt_id, prompt, None)
        )
        # The host would run the branches without a mistake; here a mistake is a failure.
        if not ok or node_errors:
            return Outcome(False, [json.dumps([error, node_errors], default=str)], {}, [])
        self.values, self.sent = {}, []
        self.executor.execute(prompt, prompt_id, {"client_id": "test"}, outputs)
        messages = self.executor.status_messages
        errors = [d.get("exception_message", "") for e, d in messages if e == "execution_error"]
        cached = {n for e, d in messages if e == "execution_cached" for n in d["nodes"]}
        ran = [d["node"] for e, d in self.sent if e == "executing" and d["node"] not in cached]
        return Outcome(self.executor.success, errors, self.values, ran, messages)

    def module(self, name: str) -> ModuleType:
        """A module of the loaded node pack, for example `nodes.host`."""
        root = str(self.base / "custom_nodes" / "gpen").replace(".", "_x_")
        return sys.modules[f"{root}.{name}"]


@pytest.fixture(scope="session")
def host(host_folder: Path, base_folder: Path, model_files: dict[str, str]) -> Host:
    """The real host in this process, with these nodes loaded."""
    return Host(host_folder, base_folder)


@pytest.fixture
def fresh(host: Host) -> Host:
    """The host with an empty execution cache and no hooks."""
    host.executor, host.feeds = host.new_executor(), {}
    host.on_event = lambda event, data: None
    return host


@pytest.fixture(scope="session")
def model_files(base_folder: Path, small_state: dict[str, torch.Tensor]) -> dict[str, str]:
    """Names of model files in the base folder: good ones, and several that must be refused."""
    folder = base_folder / "models" / "gpen"
    torch.save({"g_ema": small_state}, folder / "small.pth")
    torch.save(
        {f"module.{key}": value for key, value in small_state.items()},
        base_folder / "models" / "facerestore_models" / "named-wrongly.pth",
    )
    (folder / "page.pth").write_text("<!DOCTYPE html><html>404</html>")
    (folder / "cut-off.pth").write_bytes((folder / "small.pth").read_bytes()[:5000])
    torch.save({"conv_first.weight": torch.zeros(64, 3, 3, 3)}, folder / "esrgan.pth")
    (folder / "notes.txt").write_text("not a model")
    return {
        "good": "small.pth",
        "elsewhere": "named-wrongly.pth",
        "html": "page.pth",
        "truncated": "cut-off.pth",
        "other": "esrgan.pth",
    }


@pytest.fixture(scope="session")
def graph_file(base_folder: Path, model_files: dict[str, str]) -> str:
    """`small.pth` as an ONNX file in the base folder; made in another process."""
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"this Python lacks {name}; pip install onnx onnxruntime")
    folder = base_folder / "models" / "gpen"
    code = (
        "import sys; from pathlib import Path; from gpen_core.onnx.export import export;"
        "from gpen_core.models.load import load_model;"
        "export(load_model(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, folder / "small.pth", folder / "small.onnx"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return "small.onnx"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server of files on this machine: `mirror.files[name]`, `mirror.asked`, `mirror.pause`."""
    monkeypatch.delenv("GPEN_OFFLINE", raising=False)
    with Mirror() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


class Mirror(http.server.ThreadingHTTPServer):
    """Gives files, from any byte on, in blocks with a pause between them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MirrorHandler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str | None] = []
        self.pause = 0.0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class MirrorHandler(http.server.BaseHTTPRequestHandler):
    """One answer of a Mirror."""

    server: Mirror

    def do_GET(self) -> None:
        data, span = self.server.files[self.path[1:]], self.headers.get("Range")
        self.server.asked.append(span)
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", '"1"')
        self.end_headers()
        for begin in range(start, len(data), 1 << 18):
            try:
                self.wfile.write(data[begin : begin + (1 << 18)])
            except OSError:  # the client is gone, as a test wants it
                return
            time.sleep(self.server.pause)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def small_state() -> dict[str, torch.Tensor]:
    """A GPEN v1 of 64 px with few channels, random but repeatable; made in another process,

    because in this one `gpen_core` is not importable under its own name.
    """
    code = (
        "import sys, torch; from gpen_core.networks.gpen import GPEN, GPENConfig;"
        "torch.manual_seed(0); network = GPEN(GPENConfig.create(64, narrow=0.0625));"
        "[p.data.fill_(0.3) for n, p in network.named_parameters() if n.endswith('noise.weight')];"
        "torch.save(network.state_dict(), sys.stdout.buffer)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=120
    )
    import io

    return torch.load(io.BytesIO(result.stdout), weights_only=True)


# --- the host as a server ------------------------------------------------------------------------


class Server:
    """A running host, spoken to as a browser does."""

    def __init__(self, folder: Path, base: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base, self.log = base, base / "server.log"
        command = [
            sys.executable,
            "main.py",
            "--disable-api-nodes",
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--base-directory",
            str(base),
            "--database-url",
            "sqlite:///:memory:",
        ]
        if not torch.cuda.is_available():
            command.append("--cpu")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        """Until it answers."""
        end = time.monotonic() + _SERVER_START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        raise RuntimeError(f"The host did not start:\n{self.log.read_text()[-3000:]}")

    def get(self, path: str) -> object:
        """JSON of a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def read(self, path: str) -> bytes:
        """Bytes of a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read()

    def post(self, path: str, content: object) -> tuple[int, dict]:
        """Status and JSON of a POST; a refusal is an answer, not an exception."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def run(self, prompt: dict, seconds: float = 300) -> dict:
        """The history entry of a prompt, when it is done."""
        status, answer = self.post("/prompt", {"prompt": prompt})
        assert status == 200, answer
        return self.wait_for(answer["prompt_id"], seconds)

    def wait_for(self, prompt_id: str, seconds: float = 300) -> dict:
        """The history entry of a queued prompt, when it is done."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id]["status"]["completed"] is not None:
                return history[prompt_id]
            time.sleep(0.1)
        raise TimeoutError(f"The prompt did not end:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


@pytest.fixture(scope="session")
def server(host_folder: Path, base_folder: Path, model_files: dict[str, str]):
    """The host as a server of its own, with these nodes."""
    running = Server(host_folder, base_folder)
    try:
        running.wait()
        yield running
    finally:
        running.stop()
