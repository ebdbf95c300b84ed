"""A master, two replicas and three Sentinels, as processes, and what the Sentinels say of them."""
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import place

COUNT = 3
NAME = "tollgate"
DOWN_AFTER_MS = 1000
FAILOVER_TIMEOUT_MS = 2000  # a failover that came to nothing is tried again after twice this time
WORDS = ("--repl-diskless-sync-delay", "0", "--auto-aof-rewrite-percentage", "0")


class Sentinel:
    def __init__(self, directory, number, master_port):
        self.directory, self.port = f"{directory}/sentinel-{number}", place.free_port()
        os.makedirs(self.directory)
        with open(f"{self.directory}/conf", "w", encoding="ascii") as file:
            file.write(f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
                       f"sentinel monitor {NAME} 127.0.0.1 {master_port} 2\n"
                       f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
                       f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}\n")
        self.start()

    def start(self):
        """Its file, which it writes itself, has what it knew when it was killed."""
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(["redis-server", f"{self.directory}/conf", "--sentinel"], stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def answers(self):
        return place.ask(self.port, "PING", timeout=0.5) == "+PONG\r\n"

    def fail_over(self):
        return place.ask(self.port, "SENTINEL", "FAILOVER", NAME) == "+OK\r\n"

    def sees_all(self):
        """The master is well, and it knows the replicas and the other Sentinels: it could elect one."""
        told = place.ask(self.port, "INFO", "sentinel", timeout=0.5) or ""
        return "status=ok" in told and f"slaves={COUNT - 1},sentinels={COUNT}" in told


class Watched:
    """`clocks` are those of the Redises, one each. A thread listens to the Sentinels, and notes each switch."""

    def __init__(self, directory, clocks):
        self.redises, self.clocks, self.backup = [], clocks, f"{directory}/backup"
        for i, clock in enumerate(clocks):
            redis = place.Redis(f"{directory}/redis-{i}", clock.environment, *WORDS)
            self.redises.append(redis)
        self.master_port = self.redises[0].port
        self.switches = []  # [time, port of the new master]
        self.over = False

    def start(self, directory):
        """Once the master answers."""
        for redis in self.redises[1:]:
            redis.command("REPLICAOF", "127.0.0.1", str(self.master_port))
        self.sentinels = [Sentinel(directory, i, self.master_port) for i in range(COUNT)]
        for sentinel in self.sentinels:
            threading.Thread(target=self.listen, args=(sentinel,), daemon=True).start()

    def address(self):
        return f"sentinel:{NAME}@" + ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    def listen(self, sentinel):
        while not self.over:
            try:
                with socket.create_connection(("127.0.0.1", sentinel.port), timeout=5) as peer:
                    peer.sendall(b"SUBSCRIBE +switch-master\r\n")
                    peer.settimeout(None)
                    with peer.makefile("r", encoding="ascii", errors="replace") as lines:
                        for line in lines:
                            words = line.split()  # "NAME old-address old-port new-address new-port"
                            if len(words) == 5 and words[0] == NAME:
                                self.switched(int(words[4]))
            except OSError:
                time.sleep(0.1)

    def switched(self, port):
        """The first Sentinel that says so counts."""
        if port != self.master_port:
            self.master_port = port
            self.switches.append((time.monotonic(), port))

    @property
    def master(self):
        return next(redis for redis in self.redises if redis.port == self.master_port)

    def replicas(self):
        return [redis for redis in self.redises if redis.port != self.master_port]

    def clock_of(self, redis):
        return self.clocks[self.redises.index(redis)]

    def is_whole(self):
        """Each Sentinel sees all, and both replicas have what the master has."""
        return all("master_link_status:up" in (redis.command("INFO", "replication", timeout=0.5) or "")
                   for redis in self.replicas()) and all(sentinel.sees_all() for sentinel in self.sentinels)

    # ---- the file that is restored

    def keep_backup(self):
        """Copies the master's append-only file, as a backup would. Not while it is being rewritten."""
        master = self.master
        if "aof_rewrite_in_progress:0" not in (master.command("INFO", "persistence") or ""):
            return
        fresh = f"{self.backup}-fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            shutil.copytree(f"{master.directory}/appendonlydir", fresh)
        except (OSError, shutil.Error):  # a file was replaced meanwhile
            return
        shutil.rmtree(self.backup, ignore_errors=True)
        os.rename(fresh, self.backup)

    def restore(self, from_backup):
        """All Redises die; the master comes back with the file of the backup, or with none. The replicas come once it
        answers, so that no Sentinel finds an empty one to elect. Returns what to wait for, and what to do then."""
        master = self.master
        for redis in self.redises:
            redis.signal(signal.SIGKILL)
        for redis in self.redises:
            redis.process.wait()
            shutil.rmtree(f"{redis.directory}/appendonlydir", ignore_errors=True)
        if from_backup:
            shutil.copytree(self.backup, f"{master.directory}/appendonlydir")
        master.start()
        return master

    def start_replicas_of(self, master):
        for redis in self.redises:
            if redis is not master and redis.process.poll() is not None:
                redis.start(master.port)

    def end(self):
        self.over = True
        return [*self.redises, *self.sentinels]
