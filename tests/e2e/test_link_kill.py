#!/usr/bin/python3
"""kill -9 of the syncer at random moments of copy and stream, and CLIENT KILL of its connections: nothing lost, nothing twice.

INCR, LPUSH and APPEND show every unit that is applied twice or not at all.
"""
import threading
import time

import redis

from link import Link


class Load(threading.Thread):
    """Clients of the source. What the source holds in the end is what the target must hold."""

    def __init__(self, link, seed):
        super().__init__()
        self.link, self.stop, self.count = link, False, 0
        self.random = __import__("random").Random(seed)

    def run(self):
        r = self.link.client("source", db=0)
        other = self.link.client("source", db=3)
        while not self.stop:
            pick = self.random
            for client in (r, other):
                with client.pipeline(transaction=pick.random() < 0.3) as p:
                    for _ in range(pick.randrange(1, 8)):
                        n = pick.randrange(40)
                        p.incr(f"count:{n}")
                        p.lpush(f"list:{n % 7}", self.count)
                        p.append(f"text:{n % 5}", f"{self.count},")
                        p.hincrby(f"hash:{n % 9}", str(n), 1)
                        p.zincrby(f"zset:{n % 3}", 0.1, str(n))
                        p.sadd(f"set:{n % 4}", self.count % 100)
                        self.count += 1
                    if pick.random() < 0.1:
                        p.delete(f"list:{pick.randrange(7)}")
                    if pick.random() < 0.05:
                        p.set(f"lives:{self.count}", "x", px=10 ** 8)
                    p.execute()
            time.sleep(0.002)


def fill(link, count):
    r = link.client("source")
    for db in (0, 1):
        with link.client("source", db=db).pipeline(transaction=False) as p:
            for n in range(count):
                p.set(f"fill:{n}", f"{n}" * (1 + n % 30))
                p.rpush(f"filllist:{n % 500}", n)
            p.execute()
    r.execute_command("DEBUG", "POPULATE", 20000, "populated", 100)


def main():
    with Link("kill", copy="throttle: { ops: 12000 }") as link:
        fill(link, 8000)
        load = Load(link, link.seed)
        load.start()
        try:
            link.start()
            link.wait_log("link.rdb_complete")  # before that a new RDB has to come
            for _ in range(4):  # in the copy: it goes on where it was
                time.sleep(0.2 + link.random.random() * 0.3)
                link.kill()
                link.start()
            link.wait_log("link.following", timeout_s=180)
            assert "resumed=true" in link.log()
            assert link.log().count("link.full_copy") == 1, "a second full copy was made"
            for _ in range(8):  # in the stream
                time.sleep(0.1 + link.random.random() * 0.4)
                link.kill()
                link.start()
            for _ in range(6):  # connections at either side
                time.sleep(0.2)
                side = link.random.choice(("source", "target"))
                for client in link.client(side).client_list():
                    if client["name"].startswith("drawbridge-link"):
                        try:
                            link.client(side).client_kill_filter(_id=client["id"])
                        except redis.exceptions.RedisError:
                            pass
            time.sleep(0.5)
            while load.count <= 1000:
                time.sleep(0.1)
        finally:
            load.stop = True
            load.join()
        link.wait_clean()
        link.check_equal()
        assert link.log().count("link.full_copy") == 1, "a second full copy was made"
        assert link.client("source").info("stats")["sync_full"] == 1
        assert load.count > 1000


main()
