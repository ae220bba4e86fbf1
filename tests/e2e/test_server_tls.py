#!/usr/bin/python3
"""The bundled server with TLS: beside the plain port and alone, with clients' certificates asked for, optional and not,
certificates renewed while it runs, pipelines and big values, replication both ways with a real redis-server, and peers
that are no TLS at all."""
import errno
import os
import socket
import ssl
import subprocess
import sys
import threading

import redis

import walk
from servers import TOP, Folder, Ours, RedisServer, free_port, run_tests, wait_until


def certificates(folder):
    path = os.path.join(folder.path, "certs")
    if not os.path.exists(path):
        subprocess.run(["sh", os.path.join(TOP, "tests", "support", "make-certs.sh"), path], check=True)
    return lambda name: os.path.join(path, name)


def tls_options(cert, port, name="server"):
    return ["--tls-port", str(port), "--tls-cert-file", cert(name + ".pem"), "--tls-key-file", cert(name + ".key"),
            "--tls-ca-cert-file", cert("ca.pem")]


def client(cert, port, own="client", ca="ca.pem"):
    more = {"ssl_certfile": cert(own + ".pem"), "ssl_keyfile": cert(own + ".key")} if own else {}
    return redis.Redis(port=port, ssl=True, ssl_ca_certs=cert(ca), ssl_check_hostname=True, host="localhost", **more)


def refused(cert, port, **how):
    try:
        client(cert, port, **how).ping()
    except (redis.ConnectionError, OSError, ssl.SSLError):
        return True
    return False


def test_clients():
    with Folder("tls-clients") as folder:
        cert, port = certificates(folder), free_port()
        ours = Ours(folder, "a", *tls_options(cert, port))
        plain, safe = redis.Redis(port=ours.port), client(cert, port)
        assert plain.set("a", "1") and safe.get("a") == b"1"
        big = os.urandom(20_000_000)
        assert safe.set("big", big) and safe.get("big") == big and plain.get("big") == big
        pipe = safe.pipeline(False)
        for number in range(20000):
            pipe.set(f"k{number}", "v" * (number % 300))
            pipe.get(f"k{number}")
        answers = pipe.execute()
        assert all(answers[2 * n + 1] == b"v" * (n % 300) for n in range(20000))
        assert refused(cert, port, own=None), "a client without a certificate came in"
        assert refused(cert, port, own="expired"), "a client whose certificate is over came in"
        assert refused(cert, port, ca="stranger-ca.pem"), "the server's certificate is by whom we did not ask for"
        plain.config_set("tls-auth-clients", "optional")
        assert client(cert, port, own=None).ping() and client(cert, port).ping()
        assert refused(cert, port, own="expired")
        plain.config_set("tls-auth-clients", "no")
        assert client(cert, port, own=None).ping()
        assert safe.ping(), "a connection that was there goes on"


def talks(port, cert, *options, inside=b"PING\r\nQUIT\r\n"):
    """What openssl s_client tells of a connection; None if there is none."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", cert("ca.pem"), "-ign_eof", *options], input=inside, capture_output=True, check=False, timeout=180)
    return done.stdout.decode(errors="replace") if b"+PONG" in done.stdout else None


def test_protocols_and_ciphers_are_those_of_the_options():
    with Folder("tls-rules") as folder:
        cert, port = certificates(folder), free_port()
        ours = Ours(folder, "a", *tls_options(cert, port), "--tls-auth-clients", "no", "--tls-protocols", "TLSv1.2", "--tls-ciphers", "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384")
        plain = redis.Redis(port=ours.port)
        assert "AES256-GCM-SHA384" in talks(port, cert, "-tls1_2") and not talks(port, cert, "-tls1_3")
        assert not talks(port, cert, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
        plain.config_set("tls-protocols", "TLSv1.3")
        plain.config_set("tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
        assert not talks(port, cert, "-tls1_2") and "CHACHA20" in talks(port, cert, "-tls1_3")
        assert not talks(port, cert, "-ciphersuites", "TLS_AES_128_GCM_SHA256")
        for name, value in (("tls-protocols", "TLSv9"), ("tls-ciphers", "nosuch"), ("tls-ciphersuites", "nosuch"), ("tls-dh-params-file", "/nowhere")):
            try:
                plain.config_set(name, value)
                raise SystemExit(f"{name} {value} was taken")
            except redis.ResponseError as error:
                assert "tls-" in str(error), error
        assert plain.config_get("tls-protocols")["tls-protocols"] == "TLSv1.3" and talks(port, cert)
        # Whose order counts: the client prefers AES128, the server AES256.
        both = [":".join(f"ECDHE-{kind}-{name}" for name in names for kind in ("RSA", "ECDSA")) for names in (("AES256-GCM-SHA384", "AES128-GCM-SHA256"), ("AES128-GCM-SHA256", "AES256-GCM-SHA384"))]
        plain.config_set("tls-protocols", "TLSv1.2 TLSv1.3")
        plain.config_set("tls-ciphers", both[0])
        assert "AES128-GCM-SHA256" in talks(port, cert, "-tls1_2", "-cipher", both[1])
        plain.config_set("tls-prefer-server-ciphers", "yes")
        assert "AES256-GCM-SHA384" in talks(port, cert, "-tls1_2", "-cipher", both[1])
        assert redis.Redis(port=port, ssl=True, ssl_ca_certs=cert("ca.pem"), host="localhost").ping()


def test_sessions_are_kept_when_that_is_wanted():
    with Folder("tls-sessions") as folder:
        cert, port = certificates(folder), free_port()
        ours = Ours(folder, "a", *tls_options(cert, port), "--tls-auth-clients", "no")
        kept = os.path.join(folder.path, "session")
        def reused():
            assert talks(port, cert, "-tls1_2", "-sess_out", kept)
            return "Reused, TLS" in talks(port, cert, "-tls1_2", "-sess_in", kept)
        assert reused()
        redis.Redis(port=ours.port).config_set("tls-session-caching", "no")
        assert not reused()


def test_a_key_with_a_password():
    with Folder("tls-password") as folder:
        cert, port = certificates(folder), free_port()
        locked = os.path.join(folder.path, "locked.key")
        subprocess.run(["openssl", "pkey", "-in", cert("server.key"), "-aes256", "-passout", "pass:secret", "-out", locked], check=True)
        options = tls_options(cert, port)
        options[options.index("--tls-key-file") + 1] = locked
        ours = Ours(folder, "a", *options, "--tls-auth-clients", "no", "--tls-key-file-pass", "secret")
        assert talks(port, cert)
        try:
            redis.Redis(port=ours.port).config_set("tls-key-file-pass", "wrong")
            raise SystemExit("a key was taken whose password is not known")
        except redis.ResponseError:
            assert talks(port, cert)


def test_certificates_are_renewed():
    with Folder("tls-renew") as folder:
        cert, port = certificates(folder), free_port()
        ours = Ours(folder, "a", *tls_options(cert, port))
        plain = redis.Redis(port=ours.port)
        assert client(cert, port).ping()
        plain.config_set("tls-cert-file", cert("other.pem"), "tls-key-file", cert("other.key"))
        assert refused(cert, port), "the new certificate is for another name"
        try:
            plain.config_set("tls-cert-file", "/nowhere.pem")
            raise AssertionError("a certificate that is not there was taken")
        except redis.ResponseError as error:
            assert "nowhere.pem" in str(error), error
        assert plain.config_get("tls-cert-file")["tls-cert-file"] == cert("other.pem")
        for kind in "pem", "key":
            os.replace(cert(f"server.{kind}"), cert(f"other.{kind}"))
        plain.config_set("tls-cert-file", cert("other.pem"), "tls-key-file", cert("other.key"))
        assert client(cert, port).ping(), "a file of the same name is read again"


def test_only_tls_and_ports_that_change():
    with Folder("tls-only") as folder:
        cert, port, other, plain_port = certificates(folder), free_port(), free_port(), free_port()
        ours = Ours(folder, "a", "--port", "0", *tls_options(cert, port), start=False)
        ours.start(wait=False)
        wait_until("it answers", lambda: client(cert, port).ping())
        safe = client(cert, port)
        assert safe.info("server")["tcp_port"] == port
        safe.config_set("tls-port", other)
        assert client(cert, other).ping() and safe.ping()
        safe.config_set("port", plain_port)
        assert redis.Redis(port=plain_port).ping()
        redis.Redis(port=plain_port).config_set("tls-port", 0)
        try:
            socket.create_connection(("127.0.0.1", other), 1).close()
            raise AssertionError("the TLS port is still open")
        except ConnectionRefusedError:
            pass
        assert ours.process.poll() is None


def test_strangers():
    with Folder("tls-strangers") as folder:
        cert, port = certificates(folder), free_port()
        ours = Ours(folder, "a", *tls_options(cert, port))
        for bytes_sent in (b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000), b"\x16\x03\x01"):
            with socket.create_connection(("127.0.0.1", port), 5) as stranger:
                stranger.settimeout(180)
                try:
                    stranger.sendall(bytes_sent)
                    stranger.shutdown(socket.SHUT_WR)
                    while stranger.recv(4096):
                        pass
                except OSError as gone:  # the server may hang up at any of these
                    assert gone.errno in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE), gone
        with socket.create_connection(("127.0.0.1", port), 5):  # silent: it costs a descriptor, nobody waits for it
            assert client(cert, port).ping()
        assert redis.Redis(port=ours.port).ping()


def load(r, stop):
    number = 0
    while not stop.is_set():
        number += 1
        pipe = r.pipeline(False)
        pipe.incr("counter")
        pipe.rpush("list", number)
        pipe.ltrim("list", -1000, -1)
        pipe.set(f"key:{number % 500}", os.urandom(50).hex())
        pipe.execute()


def follows(master, replica):
    stop = threading.Event()
    writer = threading.Thread(target=load, args=(redis.Redis(port=master.port), stop))
    writer.start()
    try:
        wait_until("the link is up", lambda: redis.Redis(port=replica.port).info("replication")["master_link_status"] == "up")
        redis.Redis(port=master.port).execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_until("it is up again", lambda: redis.Redis(port=replica.port).info("replication")["master_link_status"] == "up")
        wait_until("there is something to compare", lambda: redis.Redis(port=replica.port).dbsize() > 100)
    finally:
        stop.set()
        writer.join()
    wait_until("both are level", lambda: redis.Redis(port=master.port).info("replication")["master_repl_offset"]
               == redis.Redis(port=replica.port).info("replication")["master_repl_offset"])
    assert redis.Redis(port=master.port).get("counter") == redis.Redis(port=replica.port).get("counter")
    told = walk.differences(walk.walk(master.port), walk.walk(replica.port))
    assert not told, told
    assert redis.Redis(port=replica.port).dbsize() > 100


def test_replication():
    with Folder("tls-replication") as folder:
        cert = certificates(folder)
        for first, second in ((Ours, RedisServer), (RedisServer, Ours), (Ours, Ours)):
            port = free_port()
            name = f"{first.__name__}-{second.__name__}"
            master = first(folder, name + "-a", *tls_options(cert, port))
            redis.Redis(port=master.port).set("first", "x" * 3_000_000)
            replica = second(folder, name + "-b", *tls_options(cert, free_port()), "--tls-replication", "yes",
                             "--replicaof", "127.0.0.1", str(port))
            follows(master, replica)


if __name__ == "__main__":
    run_tests(sys.modules[__name__])
