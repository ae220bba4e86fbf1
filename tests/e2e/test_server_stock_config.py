#!/usr/bin/python3
"""The redis.conf that Debian ships starts the bundled server as it is; its values are those of redis-server; CONFIG REWRITE keeps
it readable for both; and a mistake in it is one sentence with its line."""
import os
import subprocess
import sys

import redis

from servers import Folder, PROGRAM, free_port, wait_until

STOCK = "/etc/redis/redis.conf"


class Daemon:
    """PROGRAM with a file that says `daemonize yes`: the command ends at once, and its child serves."""

    def __init__(self, folder, program, config, name):
        self.port = free_port()
        self.dir = os.path.join(folder.path, name)
        os.makedirs(self.dir, exist_ok=True)
        run = subprocess.run([*program, config, "--port", str(self.port), "--dir", self.dir, "--pidfile", f"{self.dir}/pid",
                              "--logfile", f"{self.dir}/log"], capture_output=True, text=True, timeout=180, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "", ""), run
        self.client = redis.Redis(port=self.port)
        wait_until(f"{name} answers", self.client.ping)

    def end(self):
        assert open(f"{self.dir}/pid").read().strip() == str(self.client.info("server")["process_id"])
        try:
            self.client.shutdown(nosave=True)
        except redis.ConnectionError:
            pass
        wait_until("it took its pid file along", lambda: not os.path.exists(f"{self.dir}/pid"))


def values(daemon):
    return {k: v.replace(daemon.dir, "DIR").replace(str(daemon.port), "PORT") for k, v in daemon.client.config_get("*").items()}


def same_values(folder, config, when):
    """All options that both have hold the same, and `hz` what the file says."""
    daemons = [Daemon(folder, program, config, f"{program[-1]}-{when}") for program in ((PROGRAM, "server"), ("redis-server",))]
    ours, theirs = [values(daemon) for daemon in daemons]
    differing = {k: (ours[k], theirs[k]) for k in ours.keys() & theirs.keys() if ours[k] != theirs[k]}
    assert len(ours.keys() & theirs.keys()) > 100 and not differing, f"option, ours, redis-server's: {differing}"
    if when == "stock":
        for name, value in (("hz", 20), ("maxmemory", "100mb"), ("save", "30 5 60 1")):
            daemons[0].client.config_set(name, value)
        daemons[0].client.config_rewrite()
    else:
        assert (ours["hz"], ours["maxmemory"], ours["save"]) == ("20", "104857600", "30 5 60 1"), "CONFIG REWRITE did not keep them"
    for daemon in daemons:
        daemon.end()


def mistakes(folder):
    for line, words in (("bla 3", "there is no option 'bla'"), ("port x", "port: "), ('dir "/x', "unbalanced quotes")):
        path = os.path.join(folder.path, "bad.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"# first\nhz 10\n{line}\n")
        run = subprocess.run([PROGRAM, "server", path], capture_output=True, text=True, timeout=180, check=False)
        assert run.returncode == 1 and run.stdout == "" and len(run.stderr.splitlines()) == 1, run
        assert f"{path}:3: {words}" in run.stderr, run.stderr


def port_in_use(folder, config):
    """A daemon has nobody to tell but its log."""
    first = Daemon(folder, (PROGRAM, "server"), config, "port-first")
    log = os.path.join(folder.path, "port.log")
    subprocess.run([PROGRAM, "server", config, "--port", str(first.port), "--dir", folder.path, "--pidfile", "", "--logfile", log],
                   capture_output=True, timeout=180, check=True)
    wait_until("the log says why", lambda: os.path.exists(log) and "in use" in open(log, encoding="utf-8").read())
    first.end()


def main():
    with Folder("stock-config") as folder:
        mistakes(folder)
        config = os.path.join(folder.path, "redis.conf")
        if not os.access(STOCK, os.R_OK):
            print(f"{STOCK} is for root and redis only: the rest needs one of them")
            return 1
        with open(STOCK, encoding="utf-8") as stock, open(config, "w", encoding="utf-8") as out:
            out.write(stock.read())
        port_in_use(folder, config)
        same_values(folder, config, "stock")
        same_values(folder, config, "rewritten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
