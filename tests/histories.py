"""Histories of a whole federation under faults, and the look from outside after every step.

Faults come in pairs: it failed, or it worked and nobody was told.
"""

import random
from functools import lru_cache

from members import Killed, Members

from cordon.errors import Refused, Unavailable
from cordon.register.leaf import NO_DIGEST, Receipt, RosterFixed
from cordon.wire import codec
from cordon.wire.signed import PAYLOAD_TYPES, open_signed, payload_hash, peek

decoded = lru_cache(maxsize=10_000)(codec.decode_envelope)
"""A register is read again after every step, and most of its leaves are those of before."""

PAIR = ("lost before write", "lost after write")


class History:
    """One federation, the faults that strike it, and the look from outside after every step."""

    def __init__(self, folder, seed, **design):
        self.random = random.Random(seed)
        self.members = Members(folder, **design)
        self.began = self.members.now
        self.leaves = []
        self.faults = {}
        self.sends = {}
        self.client_faults = []
        self.patience = 8000
        """Seconds that an open query is given: longer than a clock that was set back by an hour."""
        self._watch_sends()

    def _rows(self, force):
        (snapshot,) = self.members.members[force].tasks.snapshots.values()
        return snapshot._database.execute("SELECT count(*) FROM snapshot").fetchone()[0]

    # Faults

    def strike_node(self, force, when, times):
        """The node dies at its commit: before it is durable, or after it and before anything is sent."""
        self.faults[force] = [when] * times
        self._arm(force)

    def _arm(self, force):
        ledger = self.members.members[force].ledger
        honest = ledger.commit

        def commit(*args, **kwargs):
            pending = self.faults.get(force) or []
            when = pending.pop(0) if pending else None
            if when == "lost before write":
                raise Killed
            made = honest(*args, **kwargs)
            if when == "lost after write":
                raise Killed
            return made

        ledger.commit = commit

    def strike_send(self, force, when, times):
        """The node dies while it sends: before the coordinator has it all, or before it hears so."""
        self.sends[force] = [when] * times

    def _watch_sends(self):
        honest = self.members.send

        def send(force, name, made):
            pending = self.sends.get(force) or []
            when = pending.pop(0) if pending else None
            if when is None:
                return honest(force, name, made)
            before, self.members.on_contribution = self.members.on_contribution, lambda *_: None
            try:
                honest(force, name, made)
            finally:
                self.members.on_contribution = before
            if when == "lost after write":
                honest(force, name, made)
            self.faults.setdefault(force, [])
            raise Killed

        self.members.send = send

    def mix_up(self, chance):
        """Tasks and answers are lost, come twice, or come again long after others."""
        old = {"task": [], "answer": []}

        def pass_on(kind, again):
            def passed(force, thing):
                # Held back as long as it likes to be: what is sent again may belong to a query that has ended.
                if self.random.random() < chance and old[kind]:
                    again(*self.random.choice(old[kind]))
                old[kind].append((force, thing))
                return None if self.random.random() < chance else thing

            return passed

        members = self.members
        members.on_task = pass_on("task", members.handle)
        members.on_answer = pass_on("answer", self._answer_again)

    def _answer_again(self, force, answer):
        self.members.run(self.members.queries.answer(answer, self.members.members[force].identity))

    def calm(self):
        """No more faults."""
        members = self.members
        members.on_task, members.on_answer = (lambda _, thing: thing), (lambda _, thing: thing)
        members.silent = set()
        members.store.__dict__.pop("write", None)
        self.faults.clear()
        self.sends.clear()

    def strike_coordinator(self, when, at, times=1):
        """The coordinator dies at its `at`-th write from now."""
        store = self.members.store
        honest, state = store.write, {"left": at}

        async def write(change):
            state["left"] -= 1
            if state["left"] == 0:
                if when == "lost after write":
                    await honest(change)
                self.faults["coordinator"] = times - 1
                raise Killed
            return await honest(change)

        store.write = write

    # Steps

    def step(self, work):
        """Do something; a process that dies is started again, and dies once more if a fault is left."""
        for _ in range(12):
            try:
                work()
                break
            except Killed:
                self._restart()
            except (Refused, Unavailable):
                break
        self.look()

    def _restart(self):
        try:
            self._restart_once()
        except (Refused, Unavailable):
            # What was on its way came too late.
            return
        except Killed:
            # What is started again may meet another death at once.
            self._restart()

    def _restart_once(self):
        if "coordinator" in self.faults:
            again = self.faults.pop("coordinator")
            self.members.restart_coordinator()
            if again:
                self.strike_coordinator(self.random.choice(PAIR), 1, again)
            return
        for force in list(self.faults):
            if force in self.members.members:
                self.members.restart_node(force)
                if self.faults[force]:
                    self._arm(force)
                else:
                    del self.faults[force]

    def settle(self):
        """Let the query run to its end, through every death on the way."""
        for _ in range(30):
            try:
                self.members.settle(seconds=self.patience, step=5)
            except Killed:
                self._restart()
                continue
            except (Refused, Unavailable):
                continue
            break
        self.look()
        assert self.members.store.open_queries() == []

    # The look from outside

    def look(self):
        """Everything that must hold after every step."""
        self._register_only_grows()
        for force, member in self.members.members.items():
            self._ledger_is_whole(force, member)
            self._released_is_charged(member)

    def _register_only_grows(self):
        leaves = [data for (data,) in self.members.store._rows("SELECT bytes FROM leaf ORDER BY number")]
        assert leaves[: len(self.leaves)] == self.leaves
        self.leaves = leaves
        fixed = [peek(RosterFixed, e) for e in map(decoded, leaves)
                 if e.payload_type == PAYLOAD_TYPES[RosterFixed]]  # fmt: skip
        attempts = [(leaf.query_hash, leaf.attempt) for leaf in fixed]
        assert len(attempts) == len(set(attempts))
        receipts = [peek(Receipt, e) for e in map(decoded, leaves)
                    if e.payload_type == PAYLOAD_TYPES[Receipt]]  # fmt: skip
        contributed = [(leaf.query_hash, leaf.attempt, leaf.force) for leaf in receipts]
        assert len(contributed) == len(set(contributed))
        for force in self.members.members:
            numbers = [leaf.number for leaf in receipts if leaf.force == force]
            assert len(numbers) == len(set(numbers))

    def _ledger_is_whole(self, force, member):
        keys = self.members.manifest.keyring(force)
        before, lifetime = NO_DIGEST, 0
        rows = member.ledger._all("SELECT receipt, rho, lifetime_sum FROM charge ORDER BY number")
        for number, (encoded, rho, total) in enumerate(rows, start=1):
            envelope = decoded(encoded)
            receipt = open_signed(Receipt, envelope, keys)
            lifetime += rho
            assert (receipt.number, receipt.previous, receipt.lifetime_sum.nano, total) == (
                number, before, lifetime, lifetime,
            )  # fmt: skip
            before = payload_hash(envelope)
        limits = member.gate.policy.limits("nominal_records", self.members.manifest)
        assert lifetime <= limits.period.nano

    def _released_is_charged(self, member):
        charged = {
            (query_hash, attempt): receipt
            for query_hash, attempt, receipt in member.ledger._all("SELECT query_hash, attempt, receipt FROM charge")
        }
        for name, times in member.sent.items():
            assert len(set(times)) == 1, "an attempt was answered with different bytes"
            assert charged[bytes(name[0]), name[1]] == times[0][0]

    def close(self):
        self.members.close()
