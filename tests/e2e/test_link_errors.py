#!/usr/bin/python3
"""What a person did wrong is said in one clear sentence, and nothing is written to the target meanwhile."""
import os
import subprocess
import time

from link import CONFIG, PROGRAM, Link, free_port


def password_needed():
    with Link("password") as link:
        link.client("source").config_set("requirepass", "secret")
        link.start()
        link.wait_log("link.source_down .*(NOAUTH|[Aa]uth)")
        assert link.client("target").dbsize() == 0


def target_is_replica():
    with Link("replica") as link:
        link.client("target").execute_command("REPLICAOF", "127.0.0.1", free_port())
        link.start()
        link.wait_log("the target is a replica")


def nobody_there():
    with Link("nobody") as link:
        link.write_config(target=free_port())
        link.start()
        link.wait_log("link.apply_stopped .*connect")
        time.sleep(0.3)
        link.write_config()
        link.kill()
        link.start()
        link.client("source").set("a", 1)
        link.wait_level()
        link.check_equal()


def refuses_psync():
    with Link("psync", source_options=("--rename-command", "PSYNC", "", "--rename-command", "SYNC", "")) as link:
        link.start()
        link.wait_log("link.source_down .*PSYNC")


def spool_not_writable():
    with Link("spooldir") as link:
        with open(os.path.join(link.folder, "spool"), "w", encoding="utf-8"):
            pass
        run = subprocess.run([PROGRAM, "syncer", "drawbridge.yaml", "--standalone"], cwd=link.folder, capture_output=True, text=True,
                             timeout=20, check=False)
        assert run.returncode == 1 and "spool" in run.stderr, (run.returncode, run.stderr)


def mistake_in_file():
    with Link("mistake") as link:
        with open(os.path.join(link.folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG.format(limit="1GB", copy="", **link.ports).replace("syncer:", "sincer:"))
        run = subprocess.run([PROGRAM, "syncer", "drawbridge.yaml"], cwd=link.folder, capture_output=True, text=True, timeout=180, check=False)
        assert run.returncode == 2 and "sincer" in run.stderr and "drawbridge.yaml:" in run.stderr, (run.returncode, run.stderr)


password_needed()
target_is_replica()
nobody_there()
refuses_psync()
spool_not_writable()
mistake_in_file()
