"""What each run under load has, the soak and the chaos: disks and files, what the clients tell, and a watch over the
nodes while time passes. The run itself says which faults strike, and what must hold at the end."""
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import clients
import place

READY_S = 60.0  # longer than this no fault may keep a node from being ready
COMPLAINTS_SHOWN = 20
BROKEN_MAX = 5  # after so many of what must not happen at all, the run ends
GAP_S = 0.5  # between two answers to the probe, beyond which the node counts as not serving


class Row:
    """What happened while one fault, or one kind of fault, was the last that had begun."""

    def __init__(self):
        self.times, self.unserved_s, self.unserved_longest_s = 0, 0.0, 0.0
        self.received, self.least, self.most, self.responses = 0, 0, 0, 0


class Load:
    """`rows` are kept by the name that `row_of` gives to a client's account."""

    def __init__(self, options, name):
        self.options, self.seed = options, options.seed
        self.random = random.Random(options.seed)
        self.over, self.paused, self.idle = threading.Event(), threading.Event(), set()
        self.lock = threading.Lock()
        self.responses, self.statuses, self.kills = [], {}, []  # kills: [node, time]
        self.complaints, self.excused, self.broken = [], 0, []
        self.rows, self.nodes = {}, []
        self.client_rate, self.client_nice = clients.RATE_BYTES_PER_S, 0
        self.stalled, self.reset_count = threading.Event(), 0  # all clients stop reading; all reset their connections
        self.directory = tempfile.mkdtemp(prefix=f"tollgate-{name}-")
        self.disks = []
        self.media()

    def add_disk(self, size):
        """A small disk of its own, which a fault may fill."""
        disk = f"{self.directory}/disk-{len(self.disks)}"
        os.makedirs(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", disk], check=True)
        self.disks.append(disk)
        return disk

    def media(self):
        """Real MP3s. Frames may follow each other, so that several of the catalogue's are one again."""
        catalogue, media = self.options.catalogue, f"{self.directory}/media"
        os.makedirs(media)
        long = f"{catalogue}/albums/Night Train/02 Long Way Home.mp3"
        parts = {"/tiny.mp3": [f"{catalogue}/jingle.mp3"], "/song.mp3": [f"{catalogue}/Café/01 – 100% #1.mp3"],
                 "/track.mp3": [f"{catalogue}/albums/Night Train/01 First Light.mp3"], "/hour.mp3": [long] * 2,
                 "/day.mp3": [long] * 4}
        for path, sources in parts.items():
            with open(media + path, "wb") as out:
                for source in sources:
                    with open(source, "rb") as file:
                        shutil.copyfileobj(file, out)
        self.sizes = {path: os.path.getsize(media + path) for path in parts}
        self.tiny, self.small, self.large = "/tiny.mp3", ["/song.mp3", "/track.mp3"], ["/hour.mp3", "/day.mp3"]

    def until(self, condition, within=READY_S):
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if condition():
                return True
            self.watch()
            time.sleep(0.02)
        self.broken.append(f"{self.now()}: after {within:.0f} s still not: {condition.__name__.replace('_', ' ')}")
        return False

    def revive(self):
        """A node that ended without being killed: that is said at the end, and the run goes on with another."""
        for node in self.nodes:
            if node.killed or node.process.poll() is None:
                continue
            self.broken.append(f"{node.name} ended by itself with {node.process.returncode}, {self.now()}; see {node.log}")
            if len(self.broken) > BROKEN_MAX:
                raise RuntimeError("; ".join(self.broken))
            self.note_kill(node)
            node.start()

    def note_kill(self, node):
        with self.lock:
            self.kills.append((node, time.monotonic()))

    # ---- what clients tell

    def count(self, status):
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def fold(self, all_of_them=False):
        """Adds responses that no kill can touch any more to their rows."""
        with self.lock:
            old = time.monotonic() - 3 * clients.MARK_S
            ended = [r for r in self.responses if r.ended is not None and (all_of_them or r.ended < old)]
            gone = set(ended)
            self.responses = [r for r in self.responses if r not in gone]
            for response in ended:
                row = self.rows[response.row]
                least = response.least([moment for node, moment in self.kills if node is response.node])
                row.responses += 1
                row.received += response.read
                row.least += least
                row.most += response.acknowledged
                self.folded(response, least)

    def folded(self, response, least):
        """For a run that keeps more of each response."""

    # ---- time

    def start(self, line_every):
        self.line_every = line_every
        self.begun = time.monotonic()
        self.line_due = line_every

    def elapsed(self):
        return time.monotonic() - self.begun

    def sleep(self, seconds):
        """Sleeps, and meanwhile does what is due."""
        end = time.monotonic() + seconds
        while True:
            self.watch()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.25))

    def watch(self):
        self.fold()
        self.revive()
        if hasattr(self, "begun") and self.elapsed() >= self.line_due:
            self.line_due += self.line_every
            self.line()

    def line_of_answers(self):
        """The lock is held."""
        bad = sum(count for status, count in self.statuses.items() if status >= 500)
        good = sum(count for status, count in self.statuses.items() if status < 400)
        received = sum(row.received for row in self.rows.values())
        return f"{good} answers, {bad} of 5xx, {received / 1e6:.0f} MB received, {len(self.complaints)} complaints"

    # ---- the end

    def print_checks(self, checks):
        """Each promise with what was found, and what the clients and the logs say; whether all of them hold."""
        print()
        for good, text in checks:
            print("held  " if good else "BROKEN", text)
        for complaint in self.complaints[:COMPLAINTS_SHOWN]:
            print("       ", complaint)
        for node in self.nodes:
            with open(node.log, encoding="utf-8", errors="replace") as log:
                errors = [line.strip() for line in log if " error " in line or "Sanitizer" in line or "check failed" in line]
            for line in errors[:COMPLAINTS_SHOWN]:
                print(f"        the log of {node.name}:", line[:300])
        self.failed = not all(good for good, _ in checks)

    def end(self, redises):
        """Ends what was started and unmounts the disks; the directory goes, unless it is to be kept."""
        self.over.set()
        for owner in (*self.nodes, *redises):
            if owner is not None and owner.process.poll() is None:
                owner.process.send_signal(signal.SIGCONT)
                owner.kill()
        for i, disk in enumerate(self.disks):
            if self.options.keep and os.path.isdir(f"{disk}/state"):
                shutil.copytree(f"{disk}/state", f"{self.directory}/state-{i}", dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("*.sock"))
            subprocess.run(["umount", "--lazy", disk], check=False)
        if self.options.keep:
            with open(f"{self.directory}/complaints", "w", encoding="utf-8") as file:
                file.writelines(f"{complaint}\n" for complaint in self.complaints)
            print(f"kept: {self.directory}; all complaints are in the file of that name")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
