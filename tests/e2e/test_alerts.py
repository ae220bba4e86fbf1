#!/usr/bin/env python3
"""test_alerts.py -- the alert rules are valid, and each fires when it should and only then."""
import os, subprocess, sys

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
rules = os.path.join(root, "deploy/prometheus/drawbridge-alerts.yaml")
cases = os.path.join(root, "tests/golden/prometheus/alerts-test.yaml")
failed = False
for words in (["check", "rules", rules], ["test", "rules", cases]):
    run = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    print(run.stdout + run.stderr)
    failed |= run.returncode != 0
sys.exit(1 if failed else 0)
