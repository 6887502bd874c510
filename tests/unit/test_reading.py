"""Reading a register: what an honest one gives, and how a mirror keeps and continues it."""

from __future__ import annotations

import contextlib
import http.server
import threading
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from registers import DOMAIN, RHO, YEAR, Party, Register, digest

from cordon.errors import Malformed, Misconfigured, Unavailable, Untrusted
from cordon.reading import examine, signatures
from cordon.reading.lives import Life, find_lives
from cordon.reading.mirror import FILE, Mirror, extended
from cordon.reading.read import Options, Reader
from cordon.reading.static import folder_source, opened_path, url_source
from cordon.register.leaf import Checkpoint, DeclineCode, Outcome, Receipt
from cordon.register.merkle import Frontier, leaf_hash
from cordon.register.spending import Spending
from cordon.wire.codec import decode_envelope, encode_envelope
from cordon.wire.signed import peek


def read(register, source=None, mirror=None, **options):
    """What a reader with the register's governance keys comes to."""
    made = mirror or Mirror(None)
    return Reader(made, source or register.source(), Options(register.governance_keys, **options)).read()


def busy():
    """A register in which most things happen."""
    register = Register()
    answered = register.round()
    register.publish(answered)
    retried = register.ask("bob", purpose="live", opened=False)
    register.decide(retried, "kent", Outcome.DECLINED, DeclineCode.POLICY, text="kent takes no part in this")
    register.roster(retried, 1, ("essex", "norfolk", "suffolk"))
    register.receipt(retried, 1, "essex")
    register.fail(retried, 1, ("norfolk", "suffolk"))
    register.receipt(retried, 1, "norfolk")
    register.roster(retried, 2, ("essex", "norfolk", "surrey"))
    for force in ("surrey", "norfolk", "essex"):
        register.receipt(retried, 2, force)
    register.complete(retried, 2)
    register.end(register.ask("bob"))
    return register


def test_an_honest_register_verifies():
    """Failed attempts, late receipts, an embargo and a published answer give no discrepancy."""
    result = read(busy())

    assert result.discrepancies == ()
    assert (result.counts["queries"], result.counts["receipts"]) == (3, 10)
    assert result.counts["leaves"] == result.new_leaves == len(busy().leaves)


def test_sums_are_those_that_a_force_keeps(tmp_path):
    """What the fold adds up is what `Spending` adds up from the same receipts."""
    register = busy()
    with Mirror(tmp_path / FILE) as mirror:
        read(register, mirror=mirror)
        spending = Spending()
        for leaf in register.leaves:
            envelope = decode_envelope(leaf)
            if "receipt" in envelope.payload_type and peek(Receipt, envelope).force == "essex":
                spending.add(peek(Receipt, envelope))
        rows = mirror.sql.execute("SELECT sum(rho), count(*) * rho FROM receipts WHERE force = 'essex'").fetchone()

    assert rows == (spending.lifetime(DOMAIN).nano, spending.in_period(DOMAIN, YEAR).nano) == (3 * RHO, 3 * RHO)


def test_a_second_reading_takes_only_what_is_new(tmp_path):
    """A mirror that was closed goes on where it was, and looks at no leaf again."""
    register = busy()
    with Mirror(tmp_path / FILE) as mirror:
        read(register, mirror=mirror)
    before = len(register.leaves)
    register.round()
    source = register.source()
    asked = []
    served = source.leaves
    source.leaves = lambda start, end: asked.append((start, end)) or served(start, end)
    with Mirror(tmp_path / FILE) as mirror:
        result = read(register, source, mirror)

        assert result.discrepancies == ()
        assert asked == [(before, len(register.leaves))]
        assert result.new_leaves == len(register.leaves) - before
        assert find_lives(mirror)[-1].rosters[1].completed == len(register.leaves) - 1


@pytest.mark.parametrize("step", range(6))
def test_a_reader_that_was_killed_goes_on(tmp_path, monkeypatch, step):
    """Killed at any transaction, the next reading comes to the same end."""
    register = busy()

    class Killed(Exception):
        pass

    with Mirror(tmp_path / FILE) as mirror:
        transaction = mirror.transaction
        count = iter(range(100))

        def dying():
            if next(count) == step:
                raise Killed
            return transaction()

        mirror.transaction = dying
        with pytest.raises(Killed):
            read(register, mirror=mirror)
    with Mirror(tmp_path / FILE) as mirror:
        result = read(register, mirror=mirror)

        assert result.discrepancies == ()
        assert mirror.count("receipts") == 10
        assert mirror.count("leaves") == len(register.leaves)


def test_processes_find_what_one_finds(tmp_path, monkeypatch):
    """Leaves examined by several processes give the same discrepancies in the same order."""
    monkeypatch.setattr("cordon.reading.workers.BATCH", 16)
    monkeypatch.setattr("cordon.reading.workers.WORTH_IT", 16)
    register = busy()
    register.leaves[30] = register.leaves[30][:-1] + bytes([register.leaves[30][-1] ^ 1])
    found = []
    for jobs in (1, 2):
        with Mirror(tmp_path / str(jobs) / FILE) as mirror:
            found.append(read(register, mirror=mirror, jobs=jobs).discrepancies)

    assert found[0] == found[1]
    assert found[0][0].leaf == 30


@contextlib.contextmanager
def web(handler):
    """A web server on this machine; gives its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Files(http.server.SimpleHTTPRequestHandler):
    """Hands out files, and says nothing."""

    def log_message(self, *_):
        pass


def test_a_published_folder_and_its_address_read_alike(tmp_path):
    """Files in a folder, and the same files from a web server, give the same result."""
    register = busy()
    register.write(tmp_path / "published")
    with web(partial(Files, directory=str(tmp_path / "published"))) as address:
        by_url = read(register, url_source(address))

    assert by_url == read(register, folder_source(tmp_path / "published"))
    assert by_url.discrepancies == ()
    assert by_url.counts["openings"] == 5


@pytest.mark.parametrize(
    ("status", "location", "body", "error"),
    [
        (302, "ftp://127.0.0.1/checkpoint", b"", Unavailable),
        (302, "file:///etc/hostname", b"", Unavailable),
        (500, "", b"", Unavailable),
        (404, "", b"", Unavailable),
        (200, "", b"x" * 5000, Malformed),
        (200, "", b"no note", Malformed),
    ],
)
def test_an_address_that_misbehaves_is_refused(status, location, body, error):
    """Redirects to other schemes, failures, and files beyond their size are typed errors."""

    class Misbehaving(Files):
        def do_GET(self):
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    with web(Misbehaving) as address, pytest.raises(error):
        read(Register(stated=False), url_source(address))


def test_a_source_that_is_none_is_named(tmp_path):
    """An empty folder, and an address where nobody listens, are unavailable rather than dishonest."""
    register = Register()
    with pytest.raises(Unavailable, match="checkpoint"):
        read(register, folder_source(tmp_path))
    with pytest.raises(Unavailable, match="cannot read"):
        read(register, url_source("http://127.0.0.1:9/"))


def test_an_offline_reading_needs_no_source(tmp_path):
    """A mirror is judged by itself; an empty one has nothing to judge."""
    register = busy()
    options = Options(register.governance_keys)
    with Mirror(tmp_path / FILE) as mirror:
        with pytest.raises(Unavailable, match="nothing in the mirror"):
            Reader(mirror, None, options).read()
        read(register, mirror=mirror)
        result = Reader(mirror, None, options).read()

    assert (result.new_leaves, result.discrepancies) == (0, ())


def test_a_mirror_belongs_to_its_governance_keys(tmp_path):
    """A mirror that was made with other keys is refused, and so is a file that is no mirror."""
    register = Register()
    with Mirror(tmp_path / FILE) as mirror:
        read(register, mirror=mirror)
        with pytest.raises(Misconfigured, match="other governance keys"):
            Reader(mirror, register.source(), Options(Register().governance_keys))
    (tmp_path / "other").write_text("not a database, but long enough to look like one" * 40)
    with pytest.raises(Misconfigured, match="cannot open the mirror"):
        Mirror(tmp_path / "other")


def test_a_manifest_that_follows_changes_the_members():
    """Version 2 by keys of version 1 lets a force's new key sign, and the old one no more."""
    register = Register()
    old = register.members["kent"]
    register.members["kent"] = Party()
    register.governance = [*register.governance[:2], Party()]
    register.adopt()
    register.round()
    first = Options(_keys_of(register.openings[0]))
    result = Reader(Mirror(None), register.source(), first).read()

    assert result.discrepancies == ()
    assert result.counts["manifests"] == 2
    register.state("kent", deposit=False)
    asked = register.ask()
    late = register.decide(asked, "kent", signer=old.signer)
    found = Reader(Mirror(None), register.source(), first).read().discrepancies
    assert [item.leaf for item in found] == [late]


def test_what_was_signed_before_a_key_changed_may_come_after():
    """A receipt and a statement by a force's earlier key may follow the new manifest; by another force's key not."""
    register = Register()
    asked = register.ask()
    register.roster(asked)
    old = register.members["kent"]
    register.receipt(asked, 1, "kent", deposit=False)
    register.state("kent")
    stated = decode_envelope(register.leaves.pop())
    register.members["kent"] = Party()
    register.adopt()
    register.append(asked.receipts[1, "kent"])
    register.append(stated)
    assert read(register).discrepancies == ()

    leaf = register.receipt(asked, 1, "essex", signer=old.signer)
    assert [item.leaf for item in read(register).discrepancies] == [leaf]


def _keys_of(opening):
    return tuple(tomllib.loads(opening.document.payload.decode())["governance"]["keys"])


def test_a_coordinator_whose_key_changed_is_followed():
    """The newest checkpoint may be signed by a key that only the newest manifest names."""
    register = Register()
    register.round()
    mirror = Mirror(None)
    read(register, mirror=mirror)
    register.coordinator = Party()
    register.adopt()
    register.round()

    assert read(register, mirror=mirror).discrepancies == ()
    assert read(register).discrepancies == ()


def test_a_checkpoint_by_a_stranger_is_not_followed():
    """A note that nobody in a trusted manifest has signed is refused, and leaves nothing behind."""
    register = busy()
    source = register.source()
    register.coordinator = Party()
    source.files["checkpoint"] = register.note()
    mirror = Mirror(None)
    with pytest.raises(Untrusted, match="signed and cosigned"):
        read(register, source, mirror)

    assert mirror.count("leaves") == 0
    source.files["checkpoint"] = b"no note"
    with pytest.raises(Malformed):
        read(register, source, mirror)


def test_kept_contributions_are_added_again():
    """Contributions that a coordinator keeps give the registered sum, once; a published copy has none."""
    register = Register()
    register.round(ciphertexts=True)
    mirror = Mirror(None)

    assert read(register, register.source(), mirror).readded.waiting == 1
    assert read(register, register.source(kept=True, at_once=True), mirror).readded.equal == 1
    register.kept.clear()
    assert read(register, register.source(kept=True), mirror).readded.equal == 1
    assert read(register, register.source(kept=True)).readded.gone == 1


def test_an_erased_opening_leaves_the_mirror_too():
    """After an erasure, the reader's own copy of the opening is gone and nothing is overdue."""
    register = Register()
    asked = register.round()
    mirror = Mirror(None)
    read(register, mirror=mirror)
    assert mirror.opening(asked.leaf) is not None
    register.erase(asked.leaf)
    result = read(register, register.source(after=10**7), mirror)

    assert result.discrepancies == ()
    assert mirror.opening(asked.leaf) is None


def test_what_repeats_an_erased_query_goes_with_it():
    """With a query, its published answer and its decisions' texts are erased: neither is missing, kept or served."""
    register = Register()
    asked = register.ask(purpose="live")
    text = register.decide(asked, "kent", text="this is about one person")
    register.roster(asked)
    for force in register.forces:
        register.receipt(asked, 1, force)
    register.complete(asked)
    answer = register.publish(asked)
    mirror = Mirror(None)
    read(register, mirror=mirror)
    register.erase(asked.leaf)
    result = read(register, register.source(after=10**7), mirror)
    assert [d.leaf for d in result.discrepancies if "still served" in d.what] == [text, answer]
    assert [mirror.opening(leaf) for leaf in (asked.leaf, text, answer)] == [None] * 3
    del register.openings[answer], register.openings[text]

    for known in (mirror, Mirror(None)):
        assert read(register, register.source(after=10**7), known).discrepancies == ()
        assert read(register, register.source(at_once=True), known).discrepancies == ()


def test_what_is_still_in_flight_is_pending():
    """A missing receipt number is pending while the query before it is fresh."""
    register = Register()
    asked = register.ask()
    register.roster(asked)
    register.receipt(asked, 1, "kent", deposit=False)
    other = register.ask()
    register.roster(other)
    leaf = register.receipt(other, 1, "kent")
    result = read(register)

    assert result.discrepancies == ()
    assert [(p.leaf, "number 1" in p.what) for p in result.pending] == [(leaf, True)]


def test_libsodium_and_openssl_agree(monkeypatch):
    """A signature verifies, and a changed one does not, with and without libsodium."""
    party = Party()
    public = party.private.public_key().public_bytes_raw()
    good = party.private.sign(b"message")
    bad = good[:-1] + bytes([good[-1] ^ 1])
    assert signatures.HAS_SODIUM
    for has in (True, False):
        monkeypatch.setattr(signatures, "HAS_SODIUM", has)
        assert signatures.verifies(public, good, b"message")
        assert not signatures.verifies(public, bad, b"message")
        assert not signatures.verifies(public, good, b"another")


def test_the_short_way_refuses_what_the_codec_refuses():
    """Unknown fields, long encodings and short digests in receipts and envelopes are found without the codec."""
    register = Register()
    asked = register.ask()
    register.roster(asked)
    leaf = register.leaves[register.receipt(asked, 1, "kent")]
    kent = register.members["kent"]
    keys = {bytes(kent.signer.key_id): kent.private.public_key().public_bytes_raw()}
    envelope = decode_envelope(leaf)
    assert examine.examine(leaf, keys).finding == kent.signer.key_id
    assert examine.examine(leaf, {}).finding is None
    for changed in (
        leaf + b"\x52\x01x",
        leaf[:-1],
        encode_envelope(replace(envelope, payload=envelope.payload + b"\x98\x06\x01")),
        encode_envelope(replace(envelope, payload=envelope.payload[:-40])),
        encode_envelope(replace(envelope, payload_type="application/vnd.cordon.hello.v1+protobuf")),
        encode_envelope(replace(envelope, signatures=())),
        encode_envelope(replace(envelope, payload=b"")),
    ):
        assert isinstance(examine.examine(changed, keys).finding, str)


@pytest.mark.parametrize(
    ("month", "day", "periods"), [(1, 1, (2025, 2026)), (10, 2, (2025, 2026)), (10, 4, (2025, 2027))]
)
def test_charges_belong_to_years_around_their_query(month, day, periods):
    """A charge belongs to the year before its query at the earliest, and to that of 90 days after at the latest."""
    at = int(datetime(2026, month, day, tzinfo=UTC).timestamp())

    assert Life(0, digest(), digest(), "research", RHO, 1, at, ["kent"]).periods == periods


@pytest.mark.parametrize(("before", "more"), [(0, 600), (3, 253), (3, 254), (255, 1025), (256, 256), (511, 2), (7, 0)])
def test_whole_blocks_give_the_same_tree(before, more):
    """Hashing leaves in blocks comes to the same frontier as leaf by leaf."""
    leaves = [bytes([at % 251, at // 251]) for at in range(before + more)]
    start = Frontier().extended(map(leaf_hash, leaves[:before]))

    assert extended(start, leaves[before:]) == Frontier().extended(map(leaf_hash, leaves))


def test_every_earlier_root_can_be_computed():
    """Whatever pages leaves came in, and after unverified ones were dropped, each size has the root of its leaves."""
    leaves = [bytes([at % 251, at // 251]) for at in range(1100)]
    with Mirror(None) as mirror:
        mirror.append(leaves[:300])
        mirror.accept(Checkpoint(300, mirror.fetched.root), 1, b"note")
        mirror.append([b"not the register's"] * 700)
        mirror.forget_unverified()
        for start in range(300, 1100, 170):
            mirror.append(leaves[start : start + 170])

        for size in (0, 1, 255, 256, 257, 299, 300, 301, 511, 512, 513, 1024, 1099, 1100):
            assert mirror.root_at(size) == Frontier().extended(map(leaf_hash, leaves[:size])).root


def test_openings_lie_where_tiles_would():
    """The path of an opening is grouped as C2SP tiles are."""
    assert opened_path(1234067) == "opened/x001/x234/067"
    assert opened_path(5) == "opened/005"
