"""Runs mypy and pyright over `mistakes` and `correct`, and pyright over all public names; exits with 1 if one is wrong.

Both checkers must complain of exactly the lines that end with ``# mistake``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = (HERE / "mistakes.py", HERE / "correct.py")

Line = tuple[str, int]


def output(module: str, *arguments: str) -> str:
    """What a type checker prints; it ends with 1 if it has found something."""
    # Where pyright looks for the package and what it imports, `--verifytypes` too.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode not in (0, 1):
        sys.exit(f"{module} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def marked() -> set[Line]:
    """The lines that are mistakes."""
    return {
        (file.name, number)
        for file in FILES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# mistake")
    }


def found_by_mypy() -> dict[Line, str]:
    """What mypy complains of."""
    printed = output("mypy", "--no-pretty", "--hide-error-context", *map(str, FILES))
    found = re.findall(r"^(.+?):(\d+): error: (.*)$", printed, re.MULTILINE)
    return {(Path(file).name, int(number)): text for file, number, text in found}


def found_by_pyright() -> dict[Line, str]:
    """What pyright complains of."""
    report = json.loads(output("pyright", "--outputjson", *map(str, FILES)))
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


def verify_public_names() -> list[str]:
    """What pyright knows too little of."""
    report = json.loads(output("pyright", "--outputjson", "--ignoreexternal", "--verifytypes", "aiocluster"))[
        "typeCompleteness"
    ]
    counts = report["exportedSymbolCounts"]
    print(f"{sum(counts.values())} public symbols, {report['completenessScore']:.1%} of them of a known type")
    if not sum(counts.values()):
        return ["pyright finds no public symbols"]
    return [
        f"{symbol['name']}: {'; '.join(one['message'] for one in symbol['diagnostics']) or 'of no known type'}"
        for symbol in report["symbols"]
        if symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
    ]


def main() -> None:
    """Says what is wrong."""
    mistakes, wrong = marked(), verify_public_names()
    for checker, found in (("mypy", found_by_mypy()), ("pyright", found_by_pyright())):
        for file, number in sorted(mistakes ^ found.keys()):
            text = found.get((file, number), "this mistake was not found")
            wrong.append(f"{checker}: {file}:{number}: {text}")
        print(f"{checker}: {len(mistakes & found.keys())} of {len(mistakes)} mistakes found")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
