#!/usr/bin/python3
"""The spool's folder vanishes: the syncer says so, tries again with pauses, and burns no processor time; nor does it when the
spool, the source and the target are all gone.
"""
import glob
import os
import shutil
import time

from link import Link

KEPT = ("dirty", "deadlines", "begun", "connections", "copied")


def processor_seconds(link):
    with open(f"/proc/{link.processes['syncer'].pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_quiet(link, when):
    """A process that waits needs next to nothing; one that turns in a loop needs most of this time."""
    before = processor_seconds(link)
    time.sleep(4)
    used = processor_seconds(link) - before
    assert used < 1, f"{when}: {used:.2f} s of processor time in 4 s"


def removed_while_it_runs():
    with Link("spool-removed", limit="64MB") as link:  # segments of 8 MB
        source = link.client("source")
        for n in range(100):
            source.set(f"k:{n}", n)
        link.start()
        link.wait_log("link.following")
        link.wait_level()
        folder = os.path.join(link.folder, "spool", "forward")
        shutil.rmtree(os.path.join(link.folder, "spool"))
        for n in range(1000):
            source.set(f"k:{n}", "x" * 20000)
        link.wait_log("spool.failed .*[Nn]o such file")
        link.wait_log("link.moved link=forward to=blocked error=.*nothing can be kept.*[Nn]o such file")
        is_quiet(link, "the spool's folder is gone")
        for side in ("source", "target"):
            link.kill(side)
        is_quiet(link, "everything is gone")
        for side in ("source", "target"):
            assert link.processes[side].poll() is not None
        assert link.processes["syncer"].poll() is None
        assert not os.path.exists(folder)


def lost_between_two_runs():
    """The log of dirty keys is left: the stream could go on from the checkpoint, if only the source were here."""
    with Link("spool-lost") as link:
        source = link.client("source")
        for n in range(1000):
            source.set(f"k:{n}", n)
        link.start()
        link.wait_log("link.following")
        link.wait_level()
        time.sleep(1)
        link.kill()
        for path in glob.glob(os.path.join(link.folder, "spool", "forward", "*")):
            if os.path.basename(path) not in KEPT:
                os.unlink(path)
        link.processes["source"].send_signal(19)  # it stands still: connections are taken and not answered
        link.start()
        link.wait_log("control.|link.", count=1)
        time.sleep(1)
        is_quiet(link, "the source does not answer")
        link.processes["source"].send_signal(18)
        link.wait_level()
        link.check_equal()
        assert len([line for line in link.log().splitlines() if "copy.done" in line]) == 1, "a second copy was not needed"
        link.kill()
        for path in glob.glob(os.path.join(link.folder, "spool", "forward", "*")):
            if os.path.basename(path) not in KEPT:
                os.unlink(path)
        link.kill("source")
        link.start()
        link.wait_log("link.source_down")
        is_quiet(link, "the source is gone")
        link.kill("target")
        is_quiet(link, "the target is gone, too")


removed_while_it_runs()
lost_between_two_runs()
