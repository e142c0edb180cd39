"""Print what `make mutation` found: of each module, how many of the breaks the tests noticed.

python .ci/mutation_score.py [--survivors]      # in the folder where mutmut ran
"""

import json
import sys
from collections import Counter
from pathlib import Path

# mutmut's codes, which are pytest's: 0 tests passed, 33 no test reaches it, None not tried yet.
# Every other one is a failure, a crash or a time-out.
OUTCOMES = {0: "missed", 33: "missed", None: "not tried"}

total: Counter[str] = Counter()
print(f"{'module':32} {'noticed':>8} {'missed':>8} {'not tried':>10} {'score':>7}")
for path in sorted(Path("mutants").rglob("*.py.meta")):
    codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    found = Counter(OUTCOMES.get(code, "noticed") for code in codes.values())
    total += found
    if not codes:
        continue
    name = path.relative_to("mutants").as_posix().removesuffix(".meta")
    tried = found["noticed"] + found["missed"]
    score = f"{100 * found['noticed'] / tried:.1f} %" if tried else "-"
    print(f"{name:32} {found['noticed']:8} {found['missed']:8} {found['not tried']:10} {score:>7}")
    if "--survivors" in sys.argv:
        for key, code in codes.items():
            if OUTCOMES.get(code) == "missed":
                print(f"    mutmut show {key}")
tried = total["noticed"] + total["missed"]
print(f"{total['noticed']} of {tried} breaks noticed", end="")
print(f": {100 * total['noticed'] / tried:.1f} %" if tried else "", end="")
print(f"; {total['not tried']} not tried" if total["not tried"] else "")
