#!/usr/bin/python3
"""C7: what the target refuses is never dropped. Out of memory: the link stops and goes on later. A command that the target does
not know, a key of the wrong type: the keys become dirty and are copied, at their place in the stream. Twice over a kill -9.
"""
import threading
import time

from link import Link


class Load(threading.Thread):
    def __init__(self, link):
        super().__init__()
        self.link, self.stop, self.count = link, False, 0

    def run(self):
        r = self.link.client("source")
        while not self.stop:
            n = self.count % 40
            with r.pipeline(transaction=n % 3 == 0) as p:
                p.hset(f"hash:{n}", self.count % 7, self.count)  # the target does not know HSET
                p.incr(f"count:{n}")
                p.rpush(f"list:{n}", self.count)
                p.execute()
            if n == 5:
                r.copy("hash:1", "hash:2", replace=True)
                r.rename("list:5", "list:8")
            self.count += 1
            time.sleep(0.003)


def main():
    with Link("refuse", target_options=("--rename-command", "HSET", "")) as link:
        load = Load(link)
        load.start()
        try:
            link.start()
            link.wait_log("link.following")
            target = link.client("target")
            for _ in range(3):
                target.delete("count:3")
                target.rpush("count:3", "of the wrong type")
                time.sleep(0.4)
            link.kill()
            link.start()
            time.sleep(0.5)
            target.config_set("maxmemory", 1)
            link.wait_log("link.target_refuses")
            time.sleep(0.5)
            link.kill()
            link.start()
            time.sleep(0.5)
            target.config_set("maxmemory", 0)
            time.sleep(0.5)
            while load.count <= 300:
                time.sleep(0.1)
        finally:
            load.stop = True
            load.join()
        link.wait_clean()
        link.check_equal()
        assert load.count > 300


main()
