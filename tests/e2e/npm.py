"""npm.py -- the packages of tests/clients, installed as package-lock.json has them, once, also when several tests begin at a time."""
import fcntl
import os
import subprocess

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients")
PACKAGES = ("bullmq", "ioredis", "redis")


def install():
    with open(os.path.join(CLIENTS, "package-lock.json"), encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(os.path.isdir(os.path.join(CLIENTS, "node_modules", name)) for name in PACKAGES):
            # Not `ci`: it wants the optional packages of other systems in the lock file, too.
            subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--silent"], cwd=CLIENTS, check=True)
