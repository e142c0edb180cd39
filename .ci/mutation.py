"""Break the code of some modules, one small break at a time, and see whether the tests notice.

python .ci/mutation.py [--each N] [--again] [--missed] [PATTERN ...]  # at the top of the repository

mutmut makes the breaks and finds which tests reach which function (see [tool.mutmut] in
pyproject.toml). Its own run collects the tests anew for every break, which takes longer than most
tests. Here they are collected once, and every break is tried in a fork of that process. What is
done is kept in mutants/ and the next call goes on from there.
"""

import argparse
import gc
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings
from mutmut.configuration import config
from mutmut.mutation.trampoline import set_mutant_under_test

MUTANTS = Path("mutants")
# mutmut's codes: no test reaches the break, the tests passed in spite of it.
UNREACHED, MISSED = 33, 0
# Seconds; a test that takes longer is for the breaks of its own module alone.
_QUICK = 0.2


def make() -> None:
    """The breaks, and the tests of every function; in another process, to keep this one clean."""
    code = (
        "from pathlib import Path; from mutmut import __main__ as m; "
        "m.set_mutant_under_test('mutant_generation'); Path('mutants').mkdir(exist_ok=True); "
        "m.copy_src_dir(); m.copy_also_copy_files(); m.setup_source_paths(); "
        "m.create_mutants(1); "
        "m.collect_or_load_stats(m.get_mutant_runner(1), apply_config_invalidation=True)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(f"{made.stdout}\n{made.stderr}\nThe breaks could not be made.")


def drawn(patterns: list[str], each: int, seed: int) -> dict[Path, list[str]]:
    """The breaks asked for, by the file that keeps their results.

    Of each module at most `each` (0: all), drawn by `seed`; a larger number adds to the same ones.
    """
    found = {}
    for path in sorted(MUTANTS.rglob("*.py.meta")):
        keys = sorted(key for key in results(path) if any(fnmatch(key, one) for one in patterns))
        if each:
            random.Random(f"{path.name} {seed}").shuffle(keys)
            keys = keys[:each]
        if keys:
            found[path] = keys
    return found


def results(path: Path) -> dict[str, int | None]:
    """The code of every break of a module, None where it was not tried yet."""
    return json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]


class Trials:
    """A pytest plugin: in place of one run of the tests, one for each break."""

    def __init__(self, breaks: dict[Path, list[str]]) -> None:
        stats = json.loads((MUTANTS / "mutmut-stats.json").read_text(encoding="utf-8"))
        self.tests = stats["tests_by_mangled_function_name"]
        self.seconds = stats["duration_by_test"]
        # The tests run elsewhere, the results stay where they are.
        self.breaks = {path.resolve(): keys for path, keys in breaks.items()}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        needed = {
            name for keys in self.breaks.values() for key in keys for name in self.names(key, items)
        }
        # Once without a break: they have to pass, and what they load late is there for every fork.
        if first_failure([item for item in session.items if item.nodeid in needed]):
            raise pytest.UsageError("a test fails on the code as it is; run pytest to see it")
        gc.freeze()
        done, total = 0, sum(map(len, self.breaks.values()))
        for path, keys in self.breaks.items():
            for key in keys:
                keep(path, key, self.trial(key, [items[name] for name in self.names(key, items)]))
                done += 1
                print(f"\r{done} of {total} ({path.name.removesuffix('.meta')})  ", end="")
        print()
        return True

    def names(self, key: str, known: Collection[str]) -> list[str]:
        """The tests for a break, quickest first: those of its module and the quick ones beside.

        For `gpen_core.faces.warp.x_square__mutmut_3` all that reach `square` in
        `tests/faces/test_warp.py`, and those in `tests/faces/` that take less than `_QUICK`; any
        where these are none.
        """
        reached = [
            one for one in self.tests.get(key.rpartition("__mutmut_")[0], ()) if one in known
        ]
        *rooms, module = key.split(".")[1:-1]
        room = "/".join(["tests", *rooms, "test_"])
        near = [
            one
            for one in reached
            if one.startswith(f"{room}{module}.py")
            or (one.startswith(room) and self.seconds[one] < _QUICK)
        ]
        return sorted(near or reached, key=self.seconds.__getitem__)

    def trial(self, key: str, items: list[pytest.Item]) -> int:
        """The code of one break: of the tests, or below 0 for the signal that ended them."""
        if not items:
            return UNREACHED
        limit = 10 + 3 * sum(self.seconds[item.nodeid] for item in items)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            set_mutant_under_test(key)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            # Seconds of this process alone: a break that hangs is stopped, a busy machine is not.
            limit = int(limit + time.process_time())
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            code = 1
            try:
                code = first_failure(items)
            finally:
                os._exit(code)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except KeyboardInterrupt:
            os.kill(child, 9)
            raise


def first_failure(items: list[pytest.Item]) -> int:
    """1 as soon as a test fails, 0 where all pass."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        try:
            reports = runtestprotocol(item, log=False, nextitem=following)
        except KeyboardInterrupt:  # a test may raise it itself
            return 1
        if any(report.failed for report in reports):
            return 1
    return MISSED


def keep(path: Path, key: str, code: int) -> None:
    """Store a result where mutmut keeps its own."""
    meta = json.loads(path.read_text(encoding="utf-8"))
    meta["exit_code_by_key"][key] = code
    path.write_text(json.dumps(meta, indent=1), encoding="utf-8")


def table(breaks: dict[Path, list[str]], missed: bool) -> None:
    """Print the share of breaks that were noticed in each module, and which were missed."""
    tried_in_all = noticed_in_all = 0
    for path, keys in breaks.items():
        codes = results(path)
        tried = [key for key in keys if codes[key] is not None]
        lost = [key for key in tried if codes[key] in (MISSED, UNREACHED)]
        tried_in_all += len(tried)
        noticed_in_all += len(tried) - len(lost)
        name = path.relative_to(MUTANTS).as_posix().removesuffix(".py.meta")
        print(f"{name:32} {len(codes):5} breaks {_score(len(tried), len(tried) - len(lost))}")
        for key in lost if missed else ():
            print(f"    mutmut show {key}")
    print(f"{'in all':44} {_score(tried_in_all, noticed_in_all)}")


def _score(tried: int, noticed: int) -> str:
    share = f"{100 * noticed / tried:5.1f} %" if tried else "      -"
    return f"{tried:5} tried {noticed:5} noticed {share}"


def run(breaks: dict[Path, list[str]]) -> int:
    """Try breaks, in the folder where mutmut put the broken code."""
    top = Path.cwd()
    trials = Trials(breaks)
    os.chdir(MUTANTS)
    sys.path.insert(0, str(Path.cwd()))
    set_mutant_under_test("")
    # The same examples every time; a failure is enough, its smallest form is not looked for.
    settings.register_profile(
        "mutation", database=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile("mutation")
    options = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
    options += ["--rootdir=.", "-q", "-o", "timeout=60", "-W", "ignore::pytest.PytestWarning"]
    try:
        return int(pytest.main(options, plugins=[trials]))
    finally:
        os.chdir(top)


def main() -> int:
    """Make, try, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", default=["*"], help="such as gpen_core.faces.warp.*")
    parser.add_argument("--each", type=int, default=0, help="so many of each module; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="which ones these are")
    parser.add_argument("--again", action="store_true", help="try those again that were missed")
    parser.add_argument("--missed", action="store_true", help="list those that were missed")
    arguments = parser.parse_args()
    make()
    breaks = drawn(arguments.patterns, arguments.each, arguments.seed)
    due = (None, MISSED, UNREACHED) if arguments.again else (None,)
    untried = {path: [k for k in keys if results(path)[k] in due] for path, keys in breaks.items()}
    code = run(untried) if any(untried.values()) else 0
    table(breaks, arguments.missed)
    return code


if __name__ == "__main__":
    sys.exit(main())
