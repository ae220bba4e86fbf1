#!/usr/bin/python3
"""run.py [NAME ...] -- run the end-to-end tests, test_*.py beside this file, one process each, $E2E_JOBS (4) at a time.

Ends with a line "N passed, M failed". A test file is a program: exit code 0 is passed.
"""
import concurrent.futures
import os
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))

def run(name):
    """Run one file; return (name, passed, what it printed, seconds)."""
    began = time.time()
    try:
        done = subprocess.run([sys.executable, os.path.join(here, name)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=3600, check=False)
        return name, done.returncode == 0, done.stdout, time.time() - began
    except subprocess.TimeoutExpired as late:
        return name, False, f"{late.stdout}\nno end after an hour", time.time() - began


def last_line(printed):
    """What it ended with: of a Python program that failed, the error."""
    return (printed.strip().splitlines() or ["it printed nothing"])[-1][:300]


def main():
    wanted = sys.argv[1:]
    files = sorted(f for f in os.listdir(here) if f.startswith("test_") and f.endswith(".py"))
    files = [f for f in files if not wanted or any(w in f for w in wanted)]
    files.sort(key=lambda f: "bridge" not in f)  # the long ones first
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("E2E_JOBS", "4"))) as pool:
        for name, good, printed, seconds in pool.map(run, files):
            passed += good
            if not good:
                print(f"FAILED: tests/e2e/{name}: {last_line(printed)}\n{printed[-6000:]}")
            print(f"  {name}: {'passed' if good else 'FAILED'} in {seconds:.1f} s", flush=True)
    print(f"{passed} passed, {len(files) - passed} failed")
    return 1 if passed < len(files) else 0


sys.exit(main())
