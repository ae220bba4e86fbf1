#!/usr/bin/python3
"""run.py [NAME ...] -- run the end-to-end tests, test_*.py beside this file, one process each.

Ends with a line "N passed, M failed". A test file is a program: exit code 0 is passed.
"""
import os, subprocess, sys, time

here = os.path.dirname(os.path.abspath(__file__))

def main():
    wanted = sys.argv[1:]
    files = sorted(f for f in os.listdir(here) if f.startswith("test_") and f.endswith(".py"))
    files = [f for f in files if not wanted or any(w in f for w in wanted)]
    passed = failed = 0
    for name in files:
        began = time.time()
        run = subprocess.run([sys.executable, os.path.join(here, name)], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=1200, check=False)
        if run.returncode == 0:
            passed += 1
        else:
            failed += 1
            print(f"FAILED: tests/e2e/{name}\n{run.stdout[-6000:]}")
        print(f"  {name}: {'passed' if run.returncode == 0 else 'FAILED'} in {time.time() - began:.1f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0

sys.exit(main())
