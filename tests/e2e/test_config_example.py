#!/usr/bin/env python3
"""test_config_example.py -- deploy/drawbridge.example.yaml is what the option table says today.

After a change of options:  build/tests/tools/config_example > deploy/drawbridge.example.yaml
"""
import difflib, os, subprocess, sys

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
tool = os.path.join(os.environ.get("BUILD", os.path.join(root, "build")), "tests/tools/config_example")
made = subprocess.run([tool], capture_output=True, text=True, timeout=60, check=True).stdout
with open(os.path.join(root, "deploy/drawbridge.example.yaml"), encoding="utf-8") as file:
    kept = file.read()
for line in difflib.unified_diff(kept.splitlines(), made.splitlines(), "kept", "made", lineterm=""):
    print(line)
sys.exit(0 if kept == made else 1)
