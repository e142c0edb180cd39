"""The long tests of archives: `make archive-check`, or

    python tests/archive/check.py [--parts engine,kills,million,node] [--photographs 2000]

engine  one `gpen restore` and one `gpen archive` with two workers over the same photographs:
        seconds of CPU for each picture, without what starting costs, and of Ray's processes for
        each second; memory of the workers; the same bytes.
kills   `kill -9` at ten random moments, of the whole run or of one of its workers; each time the
        run is started again, and in the end every result has the bytes of an unbroken run.
million the manifest and the plan of 500 times as many made-up rows: seconds, bytes, memory.
node    a cluster of two nodes on this machine loses one in mid-job.

CPU time is that of every process that was started, so that other load hardly matters.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

from PIL import Image

GPEN = [sys.executable, "-m", "gpen_core"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
_SUBREAPER = 36  # prctl(2)


# --- photographs ---------------------------------------------------------------------------------


def photographs(folder: Path, count: int, side: int = 512) -> None:
    """Photographs made from the samples: turned, cut and resized, one in ten without a face."""
    dice = random.Random(0)
    samples = [
        Image.open(path).convert("RGB") for path in sorted((ROOT / "docs/samples").glob("*.jpg"))
    ]
    for number in range(count):
        path = folder / f"{number // 100:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = dice.choice(samples)
        if dice.random() < 0.1:
            picture = picture.crop((0, 0, 96, 96))
        else:
            picture = picture.rotate(dice.uniform(-8, 8), Image.Resampling.BICUBIC)
        width = dice.randint(side // 2, side)
        height = max(round(picture.height * width / picture.width), 16)
        picture.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=92)


def results(folder: Path) -> dict[str, bytes]:
    """Everything that is no account of the archive."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.*")
        if path.is_file() and "gpen-archive" not in path.parts
    }


# --- processes -----------------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Processes whose parents are killed become children of this one, so that none is forgotten."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def reap(patience: float = 30.0) -> None:
    """Wait until every descendant is gone; kill what will not go."""
    deadline = time.monotonic() + patience
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > deadline:
                for child in descendants(os.getpid()):
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                deadline = time.monotonic() + patience
            time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.name))
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def workers(pid: int) -> tuple[list[int], list[int]]:
    """Below a run: the processes with the networks, and Ray's with the actors."""
    networks, actors = [], []
    for child in descendants(pid):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"gpen_core.archive.child" in command:
            networks.append(child)
        elif command.startswith(b"ray::MapWorker"):
            actors.append(child)
    return networks, actors


def resident(pid: int) -> int:
    """Memory of a process in MB; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 >> 20
    except (OSError, IndexError):
        return 0


def seconds_of(pid: int) -> float:
    """CPU that a process has had; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """What a command took.

    Attributes:
        cpu, networks: seconds of all its processes, and of those with the networks, but for the
            last second of each.
        elapsed: seconds of the clock.
        code: its exit code.
        memory: of the largest process with the networks, every second, MB.
    """

    cpu: float
    networks: float
    elapsed: float
    code: int
    memory: list[int]


def measured(command: list[str]) -> Measured:
    """Run a command to its end."""
    memory: list[int] = []
    spent: dict[int, float] = {}
    with_networks: set[int] = set()
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while (code := process.poll()) is None:
        networks = workers(process.pid)[0] or [process.pid]
        with_networks.update(networks)
        memory.append(max(map(resident, networks)))
        # Read from outside: a parent that does not wait for its children hides what they took.
        for one in descendants(os.getpid()):
            spent[one] = max(spent.get(one, 0.0), seconds_of(one))
        time.sleep(1)
    elapsed = time.monotonic() - began
    reap()
    networks_took = sum(spent[one] for one in with_networks - {process.pid})
    return Measured(sum(spent.values()), networks_took, elapsed, code, memory)


def archive(source: Path, target: Path, model: str | None, *more: str) -> list[str]:
    named = [] if model is None else ["-m", model]
    places = [str(source), str(target), "--device", "cpu", "--workers", "2", "--threads", "1"]
    return [*GPEN, "archive", *places, *named, *more]


# --- the parts -----------------------------------------------------------------------------------


def engine(folder: Path, count: int, model: str | None) -> list[str]:
    """Overhead and memory against one process."""
    source, few = folder / "photographs", folder / "few"
    photographs(source, count)
    photographs(few, 10)
    took: dict[str, Measured] = {}
    named = [] if model is None else ["-m", model]
    for name, files in (("few", few), ("all", source)):
        plain = [*GPEN, "restore", str(files), "-r", "-o", str(folder / f"plain-{name}"), *named]
        took[f"restore {name}"] = measured([*plain, "--device", "cpu"])
        took[f"archive {name}"] = measured(archive(files, folder / f"archive-{name}", model))
    found = [f"engine: {name} ended with {one.code}" for name, one in took.items() if one.code]
    more, whole, memory = count - 10, took["archive all"], took["archive all"].memory
    each = (took["restore all"].cpu - took["restore few"].cpu) / more
    networks = (whole.networks - took["archive few"].networks) / more
    # Ray's own processes take their share of every second, however many pictures there are.
    rest = (whole.cpu - whole.networks) - (took["archive few"].cpu - took["archive few"].networks)
    share = rest / (whole.elapsed - took["archive few"].elapsed)
    overhead = networks / each - 1 + share / 2
    half = max(len(memory) // 2, 1)
    print(f"CPU for each picture: restore {each:.4f} s, networks of archive {networks:.4f} s")
    print(f"everything else of archive: {share:.3f} s of CPU a second")
    print(f"overhead with two cores free for two workers: {100 * overhead:.1f} %")
    start = f"{took['restore few'].cpu:.1f} s and {took['archive few'].cpu:.1f} s"
    print(f"ten of them, with starting: {start}")
    print(f"archive: {count / whole.elapsed:.2f} pictures a second by the clock")
    alone = max(took["restore all"].memory)
    print(f"memory of a worker: {max(memory[:half])} MB at most, {max(memory[half:])} MB later")
    print(f"memory of gpen restore: {alone} MB at most")
    parts = (folder / "archive-all" / "gpen-archive" / "manifest").iterdir()
    print(f"manifest: {sum(p.stat().st_size for p in parts) / count:.0f} bytes a picture")
    if results(folder / "plain-all") != results(folder / "archive-all"):
        found.append("engine: results differ from those of gpen restore")
    if overhead > 0.05:
        found.append(f"engine: overhead {100 * overhead:.1f} %")
    if count >= 1000 and max(memory[half:]) > 1.1 * max(memory[:half]):
        found.append(f"engine: memory grows, {memory[:: len(memory) // 20]}")
    return found


def kills(folder: Path, count: int, model: str | None, times: int) -> list[str]:
    """Killed and resumed."""
    source, whole, broken = folder / "scans", folder / "whole", folder / "broken"
    photographs(source, count)
    unbroken = measured(archive(source, whole, model))
    assert unbroken.code == 0, unbroken.code
    dice, killed = random.Random(1), []
    began = time.monotonic()
    while True:
        log = (folder / "kills.log").open("ab")
        process = subprocess.Popen(
            archive(source, broken, model), env=ENVIRONMENT, cwd=ROOT, stdout=log, stderr=log
        )
        kinds = ["run", "networks", "actor"] if len(killed) < times else []
        while kinds and process.poll() is None:
            time.sleep(dice.uniform(0.1, 0.8) * unbroken.elapsed)
            networks, actors = workers(process.pid)
            kind = dice.choice(kinds)
            prey = {"run": [process.pid], "networks": networks, "actor": actors}[kind]
            if prey and process.poll() is None:
                os.kill(dice.choice(prey), signal.SIGKILL)
                there = len(results(broken)) if broken.exists() else 0
                print(f"killed {kind} after {there} results", flush=True)
                killed.append(kind)
            kinds = kinds if len(killed) < times else []
        code = process.wait()
        reap()
        if code == 0 and len(killed) >= times:
            break
        if code == 0:  # done before it could be killed often enough: a part once more
            for path in sorted(broken.rglob("*.jpg"))[: count // 2]:
                path.unlink()
        assert time.monotonic() - began < 3600, "it does not come to an end"
    said = subprocess.run(
        [*GPEN, "archive", "status", str(broken), "--json"],
        env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    facts = json.loads(said.stdout)
    print(f"{len(killed)} kills: {facts['restored']} restored, {facts['unchanged']} unchanged")
    found = [] if results(broken) == results(whole) else ["kills: results differ"]
    if facts["failed"] or facts["left"] or facts["pictures"] != count:
        found.append(f"kills: {facts}")
    if list(broken.rglob("*.part")):
        found.append("kills: scratch files are left behind")
    return found


def node(folder: Path, count: int, model: str | None) -> list[str]:
    """A cluster loses a node."""
    import ray
    from ray.cluster_utils import Cluster

    from gpen_core.archive.engine import Crew
    from gpen_core.archive.job import Archive
    from gpen_core.archive.recipe import Recipe
    from gpen_core.options import Options

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - read by the nodes started here
    source, target = folder / "plates", folder / "cluster"
    photographs(source, count)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    lost = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    recipe = Recipe.of(str(target), Options(), model=model, device="cpu")
    one = Archive(str(source), recipe, crew=Crew(3, 0.0, 1.0, cluster.address))
    one.look()
    keys: list[str] = []
    for rows in one.run():
        keys += [row.key for row in rows]
        if lost is not None and len(keys) > count // 3:
            cluster.remove_node(lost, allow_graceful=False)
            print(f"node lost after {len(keys)} pictures", flush=True)
            lost = None
    ray.shutdown()
    cluster.shutdown()
    facts = one.conclude()
    print(f"node: {facts.restored} restored, {facts.unchanged} unchanged, {facts.failed} failed")
    found = []
    if facts.failed or facts.left or len(results(target)) != count:
        found.append(f"node: {facts.facts()}")
    if len(keys) != len(set(keys)):
        found.append("node: a picture was counted twice")
    return found


def million(folder: Path, count: int) -> list[str]:
    """The manifest and the plan of very many pictures, made up; no picture is touched."""
    from gpen_core.archive.folder import Folder
    from gpen_core.archive.listing import Item
    from gpen_core.archive.manifest import Manifest
    from gpen_core.archive.plan import COLUMNS, make_plan
    from gpen_core.archive.recipe import Recipe
    from gpen_core.archive.rows import Row
    from gpen_core.archive.store import Entry
    from gpen_core.options import Options

    class Listed(Folder):
        def entries(self, below=""):
            if below:
                return super().entries(below)
            keys = (f"{n // 1000:04}/{n:07}.jpg" for n in range(count))
            return (Entry(key, 90_000 + n % 999, "") for n, key in enumerate(keys))

    dice, recipe = random.Random(0), Recipe.of(str(folder), Options())
    items = [
        Item(f"{n // 1000:04}/{n:07}.jpg", f"/scans/{n // 1000:04}/{n:07}.jpg", n, f"{n:x}")
        for n in range(count)
    ]
    manifest, began = Manifest(Listed(folder)), time.process_time()
    manifest.add(
        [
            Row(
                one.key, one.place, one.size, one.version, one.key,
                sha256=dice.randbytes(32).hex(), result_size=90_000 + n % 999,
                result_sha256=dice.randbytes(32).hex(), found=1, restored=1,
                lowest=dice.random(), box=[dice.random() for _ in range(4)],
                seconds=dice.random(), made_with=recipe.made_with, model=recipe.model_sha256,
                finished=1.8e9 + n + dice.random(), machine="node-1",
            )
            for n, one in enumerate(items)
        ]
    )  # fmt: skip
    written = time.process_time()
    [part] = manifest.parts()
    before = manifest.rows(COLUMNS)
    read = time.process_time()
    plan = make_plan(items, recipe, before, manifest.store)
    done = time.process_time()
    size = manifest.store.size_of(part) or 0
    print(f"{count} rows: {size / count:.0f} bytes each; written in {written - began:.0f} s,")
    print(f"read in {read - written:.0f} s, compared in {done - read:.0f} s of CPU;")
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")
    return [] if len(plan.done) == count else [f"million: {len(plan.done)} done"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="engine,kills,million,node")
    parser.add_argument("--photographs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--model", default=None, help="default: the embedded model")
    options = parser.parse_args()
    adopt_orphans()
    found: list[str] = []
    for part in options.parts.split(","):
        folder = Path(tempfile.mkdtemp(prefix="gpen-archive-"))
        print(f"== {part}", flush=True)
        count, model = options.photographs, options.model
        try:
            if part == "engine":
                found += engine(folder, count, model)
            elif part == "kills":
                found += kills(folder, max(count // 5, 40), model, options.kills)
            elif part == "million":
                found += million(folder, 500 * count)
            else:
                found += node(folder, max(count // 10, 40), model)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(f"FINDING {one}" for one in found) or "all clean")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
