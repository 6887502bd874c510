"""The published vectors: made anew they are the same, and other code than ours comes to the same values."""

import base64
import hashlib
import importlib.util
import json
import re
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cordon import errors
from cordon.query.model import Question
from cordon.query.plan import SMALL, WIDE
from cordon.register.leaf import Decision, Receipt
from cordon.sealing.masks import agree, check_ephemeral_keys
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.messages import Ready
from cordon.wire.signed import open_signed

V1 = Path(__file__).parent / "v1"
KINDS = {"Receipt": Receipt, "Decision": Decision, "Question": Question}


def vectors(name):
    """One file of vectors."""
    return json.loads((V1 / f"{name}.json").read_text(encoding="utf-8"))


def tagged(tag, *parts):
    """The protocol's hash, written anew from its description."""
    joined = b"".join(len(p).to_bytes(8, "little") + p for p in (tag.encode(), *parts))
    return hashlib.sha256(joined).hexdigest()


def signed(name):
    """Every signed vector of a file, wherever it stands in it."""

    def walk(value):
        if isinstance(value, dict):
            if "signed_bytes" in value:
                yield value
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    return list(walk(vectors(name)))


def test_vectors_made_anew_are_the_same(tmp_path):
    """Formats do not change: the generator gives every file byte for byte."""
    spec = importlib.util.spec_from_file_location("make_vectors", V1 / "make_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make(tmp_path)

    names = sorted(path.name for path in V1.glob("*.json"))
    assert names == sorted(path.name for path in tmp_path.glob("*.json"))
    for name in names:
        assert (tmp_path / name).read_bytes() == (V1 / name).read_bytes(), name


@pytest.mark.parametrize("name", ["envelopes", "leaves", "notes", "register"])
def test_signatures_are_over_dsse_encoding(name):
    """Payload type and payload behind their lengths, as DSSE v1 says, and Ed25519 over that."""
    found = signed(name)
    assert found
    for vector in found:
        kind, payload = vector["payload_type"].encode(), bytes.fromhex(vector["payload"])
        encoding = b"DSSEv1 " + b" ".join([str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
        assert encoding.hex() == vector["signed_bytes"]


def test_an_envelope_verifies_with_the_plain_library():
    """The analyst's signature under the analyst's public key, without any code of ours."""
    content = vectors("envelopes")
    key = bytes.fromhex(content["public_key"])
    vector = content["vector"]

    Ed25519PublicKey.from_public_bytes(key).verify(
        bytes.fromhex(vector["signature"]), bytes.fromhex(vector["signed_bytes"])
    )
    assert hashlib.sha256(key).hexdigest() == vector["key_id"]


def test_an_envelopes_bytes_are_plain_protobuf():
    """Type, payload and signature as length-delimited fields 1, 2 and 3, written by hand."""
    for vector in signed("leaves"):
        inner = field(1, bytes.fromhex(vector["key_id"])) + field(2, bytes.fromhex(vector["signature"]))
        whole = field(1, vector["payload_type"].encode()) + field(2, bytes.fromhex(vector["payload"])) + field(3, inner)
        assert whole.hex() == vector["envelope"]


def field(number, value):
    """A protobuf field, by its wire format: integers are varints, bytes stand behind their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    """Base-128, least significant group first."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_a_receipt_is_plain_protobuf():
    """Every field of a receipt in order of its number, written by hand."""
    (vector,) = [v for v in signed("leaves") if v["model"]["kind"] == "Receipt"]
    model = vector["model"]
    names = [
        "force", "query_hash", "attempt", "transcript_hash", "analyst_key_id", "purpose", "domain", "period", "rho",
        "period_sum", "lifetime_sum", "number", "previous", "ciphertext_hash", "plan",
    ]  # fmt: skip
    texts = {"force", "purpose", "domain"}
    payload = b""
    for number, name in enumerate(names, start=1):
        value = model[name]
        if isinstance(value, str):
            value = value.encode() if name in texts else bytes.fromhex(value)
        payload += field(number, value)
    checkpoint = field(1, model["checkpoint"]["size"]) + field(2, bytes.fromhex(model["checkpoint"]["root"]))
    payload += field(16, checkpoint)

    assert payload.hex() == vector["payload"]


def test_every_kind_of_leaf_has_a_vector_that_decodes():
    """The bytes decode to the model that is written beside them."""
    from cordon.wire.signed import PAYLOAD_TYPES

    by_type = {payload_type: kind for kind, payload_type in PAYLOAD_TYPES.items()}
    kinds = set()
    for vector in signed("leaves") + signed("register"):
        envelope = codec.decode_envelope(bytes.fromhex(vector["envelope"]))
        kind = by_type[envelope.payload_type]
        model = codec.decode(kind, envelope.payload)
        assert type(model).__name__ == vector["model"]["kind"]
        kinds.add(kind.__name__)
    assert kinds == {kind.__name__ for kind in PAYLOAD_TYPES} - {"Query", "Hello", "Ready"}


def test_ledger_entries_name_the_one_before():
    """Each hash is over number, previous hash, kind, time and payload."""
    previous = bytes(32).hex()
    for entry in vectors("ledger")["entries"]:
        assert entry["previous"] == previous
        previous = tagged(
            "cordon/v1/ledger-entry", entry["number"].to_bytes(8, "little"), bytes.fromhex(previous),
            entry["kind"].encode(), entry["at"].to_bytes(8, "little"), bytes.fromhex(entry["payload"]),
        )  # fmt: skip
        assert entry["hash"] == previous


def test_digests_of_a_question():
    """Question digest, its blinded form, and the query's hash, from the bytes that are written beside them."""
    content = vectors("questions")
    nonce = bytes.fromhex(content["query"]["terms"]["nonce"])
    digest = tagged("cordon/v1/question", bytes.fromhex(content["question_bytes"]))
    kind = b"application/vnd.cordon.query.v1+protobuf"

    assert content["question_digest"] == digest
    assert content["blinded_question"] == tagged("cordon/v1/blinded", nonce, bytes.fromhex(digest))
    assert content["query_hash"] == tagged("cordon/v1/commitment", kind, bytes.fromhex(content["query_bytes"]))


def test_a_query_survives_the_wire():
    """Bytes to model and back are the same bytes."""
    from cordon.query.model import Query

    data = bytes.fromhex(vectors("questions")["query_bytes"])
    assert codec.encode(codec.decode(Query, data)) == data


def test_plan_digests_are_over_the_plans_text():
    """A base plan is named by its text, a completed one by the text with roster and shares behind it."""
    content = vectors("plans")
    assert content["digest"] == tagged("cordon/v1/base-plan", content["text"].encode())
    for roster, digest in content["completed"].items():
        shares = "".join(f"share {share}/65536\n" for share in content["shares_in_2^-16"][roster])
        text = f"{content['text']}roster {roster}\n{shares}"
        assert digest == tagged("cordon/v1/completed-plan", text.encode())


def test_a_question_of_several_tables_is_plain_protobuf():
    """Filters, centres, offsets, widths, bins and groupings by their field numbers, written by hand."""
    content = vectors("tables")
    known = field(2, field(1, b"age"))
    victims = field(1, field(1, b"role") + field(2, b"victim"))
    measures = [
        field(1, 1) + field(3, known),
        field(1, 3) + field(2, b"age") + field(4, zigzag(55)),
        field(1, 4) + field(2, b"age") + field(4, zigzag(55)) + field(5, 1512),
        field(1, 5) + field(2, b"age") + field(3, victims) + field(6, varint(1) + varint(12)),
        field(1, 2),
    ]
    keys = [
        field(1, b"loss_gbp") + field(2, 6) + field(3, 2500),
        field(1, b"recorded") + field(2, 4),
    ]
    groupings = [field(1, varint(0) + varint(1)), field(1, varint(0)), b""]
    payload = field(1, b"nominals") + field(2, 1)
    for number, items in ((3, measures), (5, keys), (6, [b"essex", b"kent", b"surrey"]), (7, groupings)):
        payload += b"".join(field(number, item) for item in items)

    assert payload.hex() == content["question_bytes"]
    assert content["question_digest"] == tagged("cordon/v1/question", payload)


def test_products_are_plain_protobuf_and_their_plan_by_other_code():
    """Both numbers and both centres by their field numbers; sensitivities from k = 3, ages to 110 and losses to 5,000."""
    content = vectors("products")
    victims = field(1, field(1, b"role") + field(2, b"victim"))
    head, other = field(1, 6) + field(2, b"age"), field(7, b"loss_gbp")
    measures = [
        head + field(4, zigzag(55)) + other + field(8, zigzag(2500)),
        head + other + field(8, zigzag(2500)),
        head + field(3, victims) + other,
    ]
    payload = field(1, b"nominals") + field(2, 1) + b"".join(field(3, measure) for measure in measures)
    payload += field(5, field(1, b"role") + field(2, 1))
    payload += b"".join(field(6, force) for force in (b"essex", b"kent", b"surrey"))
    assert payload.hex() == content["question_bytes"]
    assert content["question_digest"] == tagged("cordon/v1/question", payload)

    assert content["digest"] == tagged("cordon/v1/base-plan", content["text"].encode())
    ends = (" centre 55 offset 0 other centre 2500", " other centre 2500", "")
    blocks = [line for line in content["text"].splitlines() if line.startswith("block")]
    for at, (line, largest, end) in enumerate(zip(blocks, (55 * 2500, 110 * 2500, 110 * 5000), ends, strict=True)):
        assert line.startswith(
            f"block products age*loss_gbp start {5 * at} cells 5 sensitivity^2 {(3 * largest) ** 2}/1 "
        )
        assert line.split(" scale ")[1].lstrip("0123456789") == end


def zigzag(number):
    """A signed integer as protobuf's sint64."""
    return 2 * number if number >= 0 else -2 * number - 1


def test_a_plan_of_several_tables_by_other_code():
    """Cells, starts and sensitivities of each block, from k = 3, ages 0 to 110, three bins of 2,500 and four quarters."""
    content = vectors("tables")
    assert content["digest"] == tagged("cordon/v1/base-plan", content["text"].encode())
    groups = {"0,1": 12, "0": 3, "-": 1}
    kinds = [
        ("count", "-", 9, [1], ""),
        ("sum", "age", (3 * 55) ** 2, [1], " centre 55 offset 0"),
        ("squares", "age", (3 * (55**2 - 1512)) ** 2, [1], " centre 55 offset 1512"),
        ("histogram", "age", 9, [111, 10], ""),
        ("count_unit", "-", None, [1], ""),
    ]
    expected, start = [], 0
    for kind, column, d_squared, bins, end in kinds:
        for keys, rows in groups.items():
            for width, count in zip((1, 12), bins, strict=False):
                square = min(3, rows) if d_squared is None else d_squared
                in_bins = f" width {width}" if kind == "histogram" else ""
                expected.append((kind, column, start, rows * count, square, f" keys {keys}{in_bins}{end}"))
                start += rows * count
    lines = [line for line in content["text"].splitlines() if line.startswith("block ")]
    assert len(lines) == len(expected)
    for line, (kind, column, first, cells, square, end) in zip(lines, expected, strict=True):
        assert line.startswith(f"block {kind} {column} start {first} cells {cells} sensitivity^2 {square}/1 bound ")
        assert line.endswith(end)
        assert re.search(r" scale \d+" + re.escape(end) + "$", line)


def test_shares_are_the_smallest_that_hold():
    """s² ≥ scale²·D²/(2·rho·max(1, |R| − c)), and one step less does not hold; s is at least 4 at every roster."""
    content = vectors("shares")
    for vector in content["shares"]:
        d_squared, scale = Fraction(vector["d_squared"]), vector["scale"]
        for roster, share in vector["shares_in_2^-16_by_roster"].items():
            honest = max(1, int(roster) - content["colluders"])
            needed = scale**2 * d_squared / (2 * Fraction(vector["nano_rho"], 10**9) * honest)
            assert Fraction(share, 2**16) ** 2 >= needed
            assert Fraction(share - 1, 2**16) ** 2 < needed
            assert share >= 4 * 2**16
        assert isqrt(scale) ** 2 == scale or scale & (scale - 1) == 0


def test_transcript_hash_is_over_its_parts_in_order():
    """Query, attempt, manifest, contract, completed plan, then Ready payloads ordered by force id."""
    v = vectors("transcripts")
    parts = [bytes.fromhex(v["query_payload"]), v["attempt"].to_bytes(4, "little")]
    parts += [bytes.fromhex(v[name]) for name in ("manifest", "contract", "completed_plan")]
    parts += [bytes.fromhex(v["roster"][force]) for force in sorted(v["roster"])]

    assert v["transcript_hash"] == tagged("cordon/v1/transcript", *parts)


def plain_stream(key, modulus, count):
    """The stream, word by word: AES-256-CTR, masked to the modulus's length, too large words skipped."""
    width = 4 if modulus < 2**32 else 8
    words = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(width * count * 3))
    found = []
    for at in range(0, len(words), width):
        word = int.from_bytes(words[at : at + width], "little") & (2 ** modulus.bit_length() - 1)
        if word < modulus:
            found.append(word)
    return found[:count]


def plain_hkdf(secret, salt, *info):
    """HKDF-SHA256, each part of info behind its length as 4 bytes."""
    joined = b"".join(len(part).to_bytes(4, "little") + part for part in info)
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=joined).derive(secret)


def test_masks_by_other_code():
    """Pair keys and masked vectors, derived from the text of the protocol alone."""
    v = vectors("masks")
    transcript = bytes.fromhex(v["transcript_hash"])
    private = {f: X25519PrivateKey.from_private_bytes(bytes.fromhex(k)) for f, k in v["private_keys"].items()}
    public = {f: bytes.fromhex(k) for f, k in v["public_keys"].items()}
    for parameters in v["sets"]:
        t = parameters["modulus"]
        assert parameters["stream_of_the_stream_key"] == plain_stream(bytes.fromhex(v["stream_key"]), t, 30)
        total = np.zeros(20, dtype=object)
        for force, vector in parameters["forces"].items():
            masked = list(v["vector"])
            for peer, expected in vector["pair_keys"].items():
                low, high = sorted((force, peer))
                shared = private[force].exchange(X25519PublicKey.from_public_bytes(public[peer]))
                key = plain_hkdf(
                    shared, transcript, b"cordon/v1/mask", low.encode(), public[low], high.encode(), public[high],
                    t.to_bytes(8, "little"), (20).to_bytes(8, "little"),
                )  # fmt: skip
                assert key.hex() == expected
                sign = 1 if force == low else -1
                masked = [(m + sign * s) % t for m, s in zip(masked, plain_stream(key, t, 20), strict=True)]
            assert masked == vector["masked"]
            total += np.array(masked, dtype=object)
        assert [int(value) % t for value in total] == [3 * value for value in v["vector"]]


def test_check_cells_by_other_code():
    """The constant and both tags, derived from the text of the protocol alone."""
    v = vectors("check_cells")
    for parameters in v["sets"]:
        t = parameters["modulus"]
        tagged_cells = [cell % t for cell in v["cells"]] + [1]
        tags = []
        for at in range(2):
            key = plain_hkdf(
                bytes.fromhex(v["seed"]), bytes.fromhex(v["transcript_hash"]), b"cordon/v1/check", bytes([at]),
                t.to_bytes(8, "little"), len(tagged_cells).to_bytes(8, "little"),
            )  # fmt: skip
            stream = plain_stream(key, t, len(tagged_cells))
            tags.append(sum(a * y for a, y in zip(stream, tagged_cells, strict=True)) % t)
        assert parameters["vector"] == tagged_cells + tags


def test_seed_context_by_other_code():
    """What a check seed is sealed for: force, analyst's key, question, nonce, BFV key, and the seed's own hash."""
    v, q, e = vectors("seeds"), vectors("questions"), vectors("envelopes")
    terms = q["query"]["terms"]
    parts = [b"essex", *(bytes.fromhex(x) for x in (
        e["vector"]["key_id"], q["question_digest"], terms["nonce"], terms["bfv_key_hash"], v["seed_hash"],
    ))]  # fmt: skip
    assert v["info"] == tagged("cordon/v1/seed", *parts)
    assert v["seed_hash"] == hashlib.sha256(bytes.fromhex(v["seed"])).hexdigest()


def test_ciphertext_addition_by_other_code():
    """Coefficients little-endian in as many bytes as their modulus needs, added modulo each."""
    for v in vectors("ciphertexts")["sets"]:
        count = 2 * len(v["moduli"]) * v["slots"]
        raw = []
        for at in range(2):
            shake = hashlib.shake_256(f"cordon test vector ciphertext {v['parameter_set']} {at}".encode())
            data = shake.digest(8 * count)
            raw.append([int.from_bytes(data[8 * i : 8 * i + 8], "little") for i in range(count)])
        packed = [b"", b"", b""]
        pieces = [[], [], []]
        for i in range(count):
            q = v["moduli"][i // v["slots"] % len(v["moduli"])]
            width = (q.bit_length() + 7) // 8
            a, b = raw[0][i] % q, raw[1][i] % q
            for piece, value in zip(pieces, (a, b, (a + b) % q), strict=True):
                piece.append(value.to_bytes(width, "little"))
        packed = [b"".join(piece) for piece in pieces]
        assert [hashlib.sha256(p).hexdigest() for p in packed] == [*v["sha256_of_parts"], v["sha256_of_sum"]]
        assert len(packed[2]) == v["bytes"]


def test_parameter_sets_are_the_published_ones():
    """Plaintext moduli are primes, 1 modulo 2N, as batching needs."""
    for parameters in (SMALL, WIDE):
        t = parameters.modulus
        assert t % (2 * parameters.slots) == 1
        assert pow(2, t - 1, t) == 1
        assert pow(3, t - 1, t) == 1


def test_commitment_of_a_decisions_text():
    """Salt and text under a tag of their own."""
    v = vectors("notes")["text"]
    assert v["commitment"] == tagged("cordon/v1/text", bytes.fromhex(v["salt"]), v["text"].encode())
    example = vectors("notes")["tagged_digest"]
    assert example["digest"] == tagged(example["tag"], *map(bytes.fromhex, example["parts"]))


@pytest.mark.parametrize("case", vectors("bad")["payloads"], ids=lambda case: case["name"])
def test_a_bad_payload_is_refused(case):
    """Each raises the class that its vector names."""
    expected = getattr(errors, case["expect"])
    with pytest.raises(errors.Malformed) as refused:
        codec.decode(KINDS[case["message"]], bytes.fromhex(case["payload"]))
    assert type(refused.value) is expected


@pytest.mark.parametrize("case", vectors("bad")["ephemeral_keys"], ids=lambda case: case["name"])
def test_a_bad_ephemeral_key_is_refused(case):
    """Not canonical, or too short."""
    with pytest.raises(errors.Untrusted, match="not a canonical"):
        check_ephemeral_keys({"kent": bytes.fromhex(case["key"])})


@pytest.mark.parametrize("key", vectors("bad")["low_order_keys"])
def test_a_low_order_key_is_refused(key):
    """The exchange would have no secret."""
    private = X25519PrivateKey.generate()
    keys = {"essex": private.public_key().public_bytes_raw(), "kent": bytes.fromhex(key)}
    with pytest.raises(errors.Untrusted, match="low order"):
        agree("essex", private, keys, transcript=Digest(bytes(32)), modulus=SMALL.modulus, length=4)


def test_a_payload_of_another_type_is_refused():
    """A receipt in an envelope that says it is a Ready note."""
    case = vectors("bad")["payload_of_another_type"]
    envelope = codec.decode_envelope(bytes.fromhex(case["envelope"]))
    with pytest.raises(errors.Untrusted):
        open_signed(Receipt, envelope, {})
    with pytest.raises(errors.Untrusted):
        open_signed(Ready, envelope, {})


def test_checkpoints_are_signed_notes():
    """Body, key ids and both signatures of a checkpoint, taken apart by C2SP's descriptions alone."""
    content = vectors("register")
    key = bytes.fromhex(content["public_key"])
    for vector in content["checkpoints"]:
        body, _, lines = vector["note"].partition("\n\n")
        origin, size, root = body.split("\n")
        assert (origin, int(size)) == (vector["origin"], vector["size"])
        assert base64.b64decode(root).hex() == vector["root"]
        plain, timed = (base64.b64decode(line.split(" ")[2]) for line in lines.splitlines())
        for kind, data in ((1, plain), (4, timed)):
            assert data[:4] == hashlib.sha256(origin.encode() + b"\n" + bytes([kind]) + key).digest()[:4]
        message = f"{body}\n".encode()
        Ed25519PublicKey.from_public_bytes(key).verify(plain[4:], message)
        assert int.from_bytes(timed[4:12], "big") == vector["time"]
        cosigned = f"cosignature/v1\ntime {vector['time']}\n".encode() + message
        Ed25519PublicKey.from_public_bytes(key).verify(timed[12:], cosigned)


def tree_root(hashes):
    """Root of a tree. Source: RFC 9162, section 2.1.1."""
    if len(hashes) == 1:
        return hashes[0]
    left = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(hashes[:left]) + tree_root(hashes[left:])).digest()


def tree_path(at, hashes):
    """Inclusion proof. Source: RFC 9162, section 2.1.3.1."""
    if len(hashes) == 1:
        return []
    left = 1 << (len(hashes) - 1).bit_length() - 1
    if at < left:
        return [*tree_path(at, hashes[:left]), tree_root(hashes[left:])]
    return [*tree_path(at - left, hashes[left:]), tree_root(hashes[:left])]


def tree_subproof(old, hashes, whole):
    """Consistency proof. Source: RFC 9162, section 2.1.4.1."""
    if old == len(hashes):
        return [] if whole else [tree_root(hashes)]
    left = 1 << (len(hashes) - 1).bit_length() - 1
    if old <= left:
        return [*tree_subproof(old, hashes[:left], whole), tree_root(hashes[left:])]
    return [*tree_subproof(old - left, hashes[left:], False), tree_root(hashes[:left])]


def test_roots_and_proofs_follow_from_the_definition():
    """Every root, inclusion and consistency proof is what RFC 9162's recursive definitions give."""
    content = vectors("register")
    leaves = [hashlib.sha256(b"\0" + bytes.fromhex(leaf)).digest() for leaf in content["tree"]["leaves"]]

    for size, expected in enumerate(content["tree"]["roots"], start=1):
        assert tree_root(leaves[:size]).hex() == expected
    for proof in content["tree"]["inclusion"]:
        assert [h.hex() for h in tree_path(proof["index"], leaves[: proof["size"]])] == proof["hashes"]
    for proof in content["tree"]["consistency"]:
        assert [h.hex() for h in tree_subproof(proof["old"], leaves[: proof["new"]], True)] == proof["hashes"]
