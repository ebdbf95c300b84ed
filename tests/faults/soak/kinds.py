"""The kinds of fault of the chaos. Each is a function that takes the chaos and the fault; it strikes, puts everything
back, and says when the fault was over, if that was before it returns. What a fault draws, it draws from its own
generator, so that a fault is the same without those before it.
"""
import os
import signal
import time

import place

GRANT_WITHIN_S = 60.0


def kill_node(chaos, fault):
    chaos.kill(fault.node)
    chaos.sleep(fault.draw.uniform(0, 0.8))
    bring_back(chaos, fault, [fault.node])


def kill_both_nodes(chaos, fault):
    for node in chaos.nodes:
        chaos.kill(node)
    chaos.sleep(fault.draw.uniform(0, 0.8))
    bring_back(chaos, fault, chaos.nodes)


def bring_back(chaos, fault, nodes):
    for node in nodes:
        node.start()
    fault.restored = time.monotonic()
    for node in nodes:
        chaos.until(node.is_granting, GRANT_WITHIN_S)


def freeze_node(chaos, fault):
    """Also for longer than its lease lasts."""
    fault.node.process.send_signal(signal.SIGSTOP)
    chaos.sleep(fault.draw.uniform(0.2, 4.5))
    fault.node.process.send_signal(signal.SIGCONT)


def restart_node(chaos, fault):
    fault.node.killed = True
    code = fault.node.stop(chaos.STOP_WITHIN_S)
    if code != 0:
        chaos.broken.append(f"{fault}: SIGTERM: exit code {code}")
    chaos.sleep(fault.draw.uniform(0, 0.5))
    bring_back(chaos, fault, [fault.node])


def await_switch(chaos, fault, since):
    """The fault is over when a Sentinel has told of another master."""
    def the_sentinels_name_another_master():
        return any(at > since for at, _ in chaos.watched.switches)
    if chaos.until(the_sentinels_name_another_master):
        fault.ended = fault.restored = next(at for at, _ in chaos.watched.switches if at > since)


def kill_redis(chaos, fault):
    since, old = time.monotonic(), chaos.watched.master
    old.kill()
    await_switch(chaos, fault, since)
    chaos.sleep(fault.draw.uniform(0, 0.5))
    old.start(chaos.watched.master_port)


def kill_node_and_redis(chaos, fault):
    since, old = time.monotonic(), chaos.watched.master
    chaos.kill(fault.node)
    old.kill()
    early = fault.draw.random() < 0.5
    if early:
        fault.node.start()
    await_switch(chaos, fault, since)
    if not early:
        fault.node.start()
    fault.ended = None
    chaos.until(fault.node.is_granting, GRANT_WITHIN_S)
    fault.ended = time.monotonic()
    old.start(chaos.watched.master_port)


def bounce_redis(chaos, fault):
    """Back before a Sentinel has missed it, with what its file has, which may be less than its replicas have."""
    master = chaos.watched.master
    master.kill()
    master.start()
    fault.restored = time.monotonic()
    chaos.until(master.answers)


def stall_redis(chaos, fault):
    master = chaos.watched.master
    master.signal(signal.SIGSTOP)
    chaos.sleep(fault.draw.uniform(0.05, 0.6))
    master.signal(signal.SIGCONT)


def hang_redis(chaos, fault):
    """Until it has been replaced; then it goes on as a master, until it is told that it is none."""
    since, old = time.monotonic(), chaos.watched.master
    old.signal(signal.SIGSTOP)
    await_switch(chaos, fault, since)
    chaos.sleep(fault.draw.uniform(0, 0.5))
    old.signal(signal.SIGCONT)
    chaos.sleep(fault.draw.uniform(0, 0.5))
    old.command("REPLICAOF", "127.0.0.1", str(chaos.watched.master_port))


def order_failover(chaos, fault):
    since, sentinel = time.monotonic(), fault.draw.choice(chaos.watched.sentinels)

    def a_sentinel_begins():
        return sentinel.fail_over()
    chaos.until(a_sentinel_begins)
    await_switch(chaos, fault, since)


def empty_redis(chaos, fault):
    if fault.draw.random() < 0.5:
        chaos.watched.master.command("FLUSHALL")
        await_replay(chaos, fault)
    else:
        restore(chaos, fault, from_backup=False)


def restore_redis(chaos, fault):
    restore(chaos, fault, from_backup=True)


def restore(chaos, fault, from_backup):
    master = chaos.watched.restore(from_backup)
    chaos.until(master.answers)
    chaos.watched.start_replicas_of(master)
    await_replay(chaos, fault)


def await_replay(chaos, fault):
    fault.restored = time.monotonic()
    chaos.sleep(0.1)
    chaos.until(chaos.everything_is_known, GRANT_WITHIN_S)


def cut_connections(chaos, fault):
    for _ in range(fault.draw.randint(1, 3)):
        for kind in fault.draw.sample(("normal", "pubsub"), 2):
            chaos.watched.master.command("CLIENT", "KILL", "TYPE", kind)
        chaos.sleep(fault.draw.uniform(0, 0.3))


def kill_replica(chaos, fault):
    replica = fault.draw.choice(chaos.watched.replicas())
    replica.kill()
    chaos.sleep(fault.draw.uniform(0.1, 2))
    replica.start(chaos.watched.master_port)


def kill_sentinel(chaos, fault):
    sentinel = fault.draw.choice(chaos.watched.sentinels)
    sentinel.kill()
    chaos.sleep(fault.draw.uniform(0.1, 2))
    sentinel.start()
    chaos.until(sentinel.answers)


def fill_disk(chaos, fault):
    node, ballast = fault.node, f"{chaos.disks[chaos.nodes.index(fault.node)]}/ballast"

    def the_node_says_full():
        health = node.health()
        return health is not None and health["ledger"]["state"] in ("full", "exhausted")

    def the_node_has_room():
        return not the_node_says_full()
    with open(ballast, "wb") as file:
        place.fill(file)
        chaos.until(the_node_says_full, 30)
        chaos.sleep(fault.draw.uniform(0.2, 1.5))
    os.unlink(ballast)
    fault.restored = time.monotonic()
    chaos.until(the_node_has_room)


def step_clock(chaos, fault, clock, seconds_max):
    clock.set(fault.draw.choice((-1, 1)) * fault.draw.uniform(1, seconds_max))
    chaos.sleep(fault.draw.uniform(0.5, 2.5))
    clock.set(0)


def step_node_clock(chaos, fault):
    step_clock(chaos, fault, chaos.node_clocks[chaos.nodes.index(fault.node)], 600)


def step_redis_clock(chaos, fault):
    step_clock(chaos, fault, chaos.watched.clock_of(chaos.watched.master), 3000)


def reset_clients(chaos, fault):
    chaos.reset_count += 1
    chaos.sleep(fault.draw.uniform(0.1, 0.5))


def stall_clients(chaos, fault):
    chaos.stalled.set()
    chaos.sleep(fault.draw.uniform(0.3, 3))
    chaos.stalled.clear()


class Kind:
    """`strikes` is which nodes may refuse what is asked of them meanwhile: "one", "both" or "none" of them. `overspends`:
    what Redis knew of reservations may be gone, or void early, with the fault."""

    def __init__(self, strike, strikes, of_redis=False, loses_data=False, node_away=False, overspends=False):
        self.strike, self.strikes, self.of_redis = strike, strikes, of_redis
        self.loses_data, self.node_away, self.overspends = loses_data, node_away, overspends or loses_data


KINDS = {
    "node killed": Kind(kill_node, "one", node_away=True),
    "both nodes killed": Kind(kill_both_nodes, "both", node_away=True),
    "node frozen": Kind(freeze_node, "one", node_away=True),
    "node restarted": Kind(restart_node, "one", node_away=True),
    "node and Redis killed": Kind(kill_node_and_redis, "both", of_redis=True, node_away=True, overspends=True),
    "Redis killed": Kind(kill_redis, "both", of_redis=True, overspends=True),
    "Redis bounced": Kind(bounce_redis, "both", of_redis=True, overspends=True),
    "Redis stalled": Kind(stall_redis, "both"),
    "Redis hung": Kind(hang_redis, "both", of_redis=True, overspends=True),
    "failover ordered": Kind(order_failover, "both", of_redis=True, overspends=True),
    "Redis emptied": Kind(empty_redis, "both", of_redis=True, loses_data=True),
    "Redis restored": Kind(restore_redis, "both", of_redis=True, loses_data=True),
    "connections cut": Kind(cut_connections, "both"),
    "replica killed": Kind(kill_replica, "none", of_redis=True),
    "Sentinel killed": Kind(kill_sentinel, "none", of_redis=True),
    "disk full": Kind(fill_disk, "one"),
    "node clock stepped": Kind(step_node_clock, "none"),
    "Redis clock stepped": Kind(step_redis_clock, "both", overspends=True),
    "clients reset": Kind(reset_clients, "both"),
    "clients stalled": Kind(stall_clients, "both"),
}
