#!/usr/bin/env python3
"""Breaks the rules of the ledger one by one, and shows the test that notices.

Each `*.patch` beside this file puts a switch into the program: the rule is broken while the environment variable
SLUICE_MUTANT holds the name of the patch. All patches are applied together to a copy of the tracked files, which is compiled
once. Then the tests that a patch names must pass without the variable and fail with it.

    make mutants                           all of them, except those that need the end-to-end tests
    make mutants MUTANT=gap                those whose name contains "gap"
    SLUICE_MUTANTS_E2E=1 make mutants      all of them

CONTRIBUTING.md says how to add one.
"""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = Path(os.environ.get("SLUICE_CACHE", Path.home() / ".cache/sluice")) / "mutants"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", CACHE.parent / "target"))
# The tree keeps its place and the times of files that did not change, so that a second run compiles little.
TREE = CACHE / "tree"
LOGS = CACHE / "logs"
CARGO = os.environ.get("CARGO", "cargo")
WITH_E2E = os.environ.get("SLUICE_MUTANTS_E2E") == "1"
VARIABLE = "SLUICE_MUTANT"

SWITCH = f"""//! Which rule is broken in this process.

/// Is it this one?
pub fn is(name: &str) -> bool {{
    static CHOSEN: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| std::env::var("{VARIABLE}").ok());
    CHOSEN.as_deref() == Some(name)
}}
"""


class Mutant:
    """A patch: the rule that it breaks, and the tests that must notice."""

    def __init__(self, path):
        self.name, self.path = path.stem, path
        header, _, diff = path.read_text().partition("\n--- ")
        self.rule = " ".join(re.findall(r"^Rule: *(.*(?:\n +.*)*)", header, re.M)).replace("\n", " ")
        self.rule = re.sub(r"\s+", " ", self.rule)
        # A test is: crate, target, name. The name is the last part of its path: modules may be split and moved.
        self.tests = [tuple(test.split()) for test in re.findall(r"^Test: *(.+)", header, re.M)]
        self.crates = set(re.findall(r"^\+\+\+ b/([^/]+)/", diff, re.M))
        if not self.rule or not self.tests or any(len(test) != 3 for test in self.tests):
            fail(f"{path} must begin with `Rule: <text>` and `Test: <crate> <target> <name>`")
        if f'mutant::is("{self.name}")' not in diff:
            fail(f'{path} has no `mutant::is("{self.name}")`')
        # The removed line is what finds the place when the code has moved: git would put a mere addition anywhere.
        hunks = re.split(r"^@@.*", diff, flags=re.M)[1:]
        if not all(re.search(r"^-(?!-- )", hunk, re.M) for hunk in hunks):
            fail(f"{path}: each hunk must replace a line, even if it only adds one")

    def needs_e2e(self):
        return any(target == "e2e" for _, target, _ in self.tests)


def fail(message):
    sys.exit(f"mutants: {message}")


def git(*arguments, cwd):
    # The copy may lie below somebody's home that is a repository itself; it is not meant.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(CACHE)} if cwd != ROOT else None
    return subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def prepare(mutants):
    """The tracked files as they are now, with all switches. Answers the mutants whose patch does not apply, and why."""
    fresh = CACHE / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    listed = git("ls-files", "-z", cwd=ROOT)
    if listed.returncode:
        fail(f"git cannot list the tracked files: {listed.stderr.strip()}")
    # A file that was deleted and not yet committed is gone here too.
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, fresh / name)
    broken = {}
    for mutant in mutants:
        # One line of context finds the place; a neighbour's switch may have changed that line, then the line itself must do.
        applied = git("apply", "--recount", "-C0", str(mutant.path), cwd=fresh)
        if applied.returncode:
            broken[mutant.name] = applied.stderr.strip().replace("error: ", "")
    crates = set().union(*(mutant.crates for mutant in mutants))
    for crate in crates:
        (fresh / crate / "src/mutant.rs").write_text(SWITCH)
        with open(fresh / crate / "src/lib.rs", "a") as library:
            library.write("\npub mod mutant;\n")
    take_over(fresh)
    # The target directory is shared: what another tree has compiled since would count as newer than the switches.
    for crate in crates:
        (TREE / crate / "src/lib.rs").touch()
    return broken


def take_over(fresh):
    """Makes TREE the same as `fresh`, and touches only what differs."""
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for path in list(TREE.rglob("*")):
        if path.is_file() and path.relative_to(TREE) not in wanted:
            path.unlink()
    for name in wanted:
        source, place = fresh / name, TREE / name
        if not place.is_file() or place.read_bytes() != source.read_bytes():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
            shutil.copymode(source, place)
    shutil.rmtree(fresh)


def build(tests):
    """Compiles the test binaries, once. Answers {(crate, target): executable}."""
    targets = sorted({target for _, target, _ in tests})
    selection = [part for target in targets for part in (["--lib"] if target == "lib" else ["--test", target])]
    command = [CARGO, "test", "--release", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command + selection, cwd=TREE, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        fail(f"the tree with the switches does not compile; it is {TREE}")
    binaries = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            target = "lib" if "lib" in message["target"]["kind"] else message["target"]["name"]
            binaries[Path(message["manifest_path"]).parent.name, target] = Path(message["executable"])
    return binaries


def build_program():
    """The program itself, for end-to-end tests. It must not stay where people look for the real one."""
    if subprocess.run([CARGO, "build", "--release", "--workspace", "--bins"], cwd=TREE).returncode:
        fail(f"the program with the switches does not compile; it is in {TREE}")
    shutil.copy2(TARGET / "release/sluice", CACHE / "sluice")
    for name in ["sluice", "generate-crds"]:
        (TARGET / "release" / name).unlink(missing_ok=True)
    os.environ["SLUICE_BIN"] = str(CACHE / "sluice")


def find(tests, binaries):
    """The full names of the tests: {test: (executable, path)}."""
    found = {}
    for crate, target in {test[:2] for test in tests}:
        if (crate, target) not in binaries:
            fail(f"there is no test binary {target} in {crate}")
        listing = subprocess.run([binaries[crate, target], "--list", "--format", "terse"], capture_output=True, text=True)
        for line in listing.stdout.splitlines():
            path, _, kind = line.rpartition(": ")
            if kind == "test":
                found.setdefault((crate, target, path.rpartition("::")[2]), (binaries[crate, target], path))
    missing = [" ".join(test) for test in tests if test not in found]
    if missing:
        fail("a patch names a test that does not exist: " + ", ".join(missing))
    return found


def run(test, place, mutant, limit):
    """Runs one test in a process of its own. Answers "passes", "fails" or "hangs", and the seconds."""
    executable, path = place
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    # A broken rule needs no smallest example.
    environment["PROPTEST_MAX_SHRINK_ITERS"] = "0"
    if mutant:
        environment[VARIABLE] = mutant
    started = time.monotonic()
    with open(LOGS / f"{mutant or 'control'}-{test[2]}.txt", "w") as log:
        process = subprocess.Popen(
            [executable, "--exact", path], cwd=TREE / test[0], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            verdict = "passes" if process.wait(limit) == 0 else "fails"
        except subprocess.TimeoutExpired:
            verdict = "hangs"
        finally:
            # With whatever it started.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    return verdict, time.monotonic() - started


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    mutants = [Mutant(path) for path in sorted(HERE.glob("*.patch"))]
    chosen = [mutant for mutant in mutants if wanted in mutant.name]
    if not chosen:
        fail(f"no patch has {wanted!r} in its name")
    started = time.monotonic()
    os.environ["CARGO_TARGET_DIR"] = str(TARGET)
    broken = prepare(mutants)
    due = [m for m in chosen if m.name not in broken and (WITH_E2E or not m.needs_e2e())]
    tests = sorted({test for mutant in due for test in mutant.tests})
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    places = find(tests, build(tests)) if tests else {}
    if any(mutant.needs_e2e() for mutant in due):
        build_program()
    built = time.monotonic()

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as several:
        outcomes = list(several.map(lambda test: run(test, places[test], None, 900), tests))
        control = dict(zip(tests, outcomes))
        bad = [test for test in tests if control[test][0] != "passes"]
        if bad:
            fail(f"without a mutant these do not pass: {', '.join(test[2] for test in bad)}; see {LOGS}")
        pairs = [(mutant, test) for mutant in due for test in mutant.tests]
        limit = lambda test: max(30, 5 * control[test][1])

        def judge(pair):
            mutant, test = pair
            verdict = run(test, places[test], mutant.name, limit(test))[0]
            # The machine may have been slow.
            return run(test, places[test], mutant.name, 3 * limit(test))[0] if verdict == "hangs" else verdict

        verdicts = several.map(judge, pairs)
        by_pair = {(mutant.name, test): verdict for (mutant, test), verdict in zip(pairs, verdicts)}

    words = {"fails": "killed", "hangs": "killed: hangs", "passes": "SURVIVED"}
    rows = []
    for mutant in chosen:
        for test in mutant.tests:
            verdict = by_pair.get((mutant.name, test))
            result = "DOES NOT APPLY" if mutant.name in broken else words.get(verdict, "not run")
            rows.append((result, mutant.name, test[2], mutant.rule))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in [("result", "mutant", "test that fails", "rule"), *rows]:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[3]]))
    for name, why in broken.items():
        print(f"{name}.patch does not apply, the code has moved: {why}", file=sys.stderr)
    survived = sorted({row[1] for row in rows if row[0] == "SURVIVED"})
    if survived:
        print(f"survived: {', '.join(survived)}; what the tests said is in {LOGS}", file=sys.stderr)
    not_run = len(chosen) - len(due) - len(broken.keys() & {mutant.name for mutant in chosen})
    killed = len(due) - len(survived)
    print(
        f"{len(chosen)} mutants: {killed} killed, {len(survived)} survived, {len(broken)} do not apply, {not_run} not run"
        f" ({built - started:.0f} s to compile, {time.monotonic() - built:.0f} s of tests)"
    )
    sys.exit(1 if survived or broken else 0)


if __name__ == "__main__":
    main()
