"""Contracts refuse what they must, and an envelope opens only as what was signed."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from examples import PERSON_CONTRACT, ROW_CONTRACT
from hypothesis import given
from hypothesis import strategies as st

from cordon.contract import Contract
from cordon.envelope import (
    HELLO,
    READY,
    KeySigner,
    from_json,
    open_envelope,
    pre_authentication_encoding,
    seal,
    to_json,
)
from cordon.errors import Malformed, Untrusted


@pytest.mark.parametrize(
    ("contract", "before", "after", "message"),
    [
        (ROW_CONTRACT, b'caveat = "a row is not a person"', b"", "caveat"),
        (ROW_CONTRACT, b"max_rows_per_unit = 1", b"max_rows_per_unit = 2", "max_rows_per_unit = 1"),
        (ROW_CONTRACT, b'name = "colour"', b'name = "force"', "'force' is taken"),
        (ROW_CONTRACT, b'name = "colour"', b'name = "colour_"', "must not end"),
        (ROW_CONTRACT, b'name = "colour"', b'name = "day"', "distinct"),
        (ROW_CONTRACT, b'code = "blue"', b'code = "red"', "occurs twice"),
        (ROW_CONTRACT, b'code = "unknown"', b'code = "other"', "needs the code"),
        (ROW_CONTRACT, b"2025-01-01", b"2025-01-02", "first and max the last"),
        (ROW_CONTRACT, b"version = 1", b"version = 0", "version"),
        (ROW_CONTRACT, b"[unit]", b"colour = 1\n[unit]", "colour"),
        (ROW_CONTRACT, b"[unit]", b"[unit", "TOML"),
        (ROW_CONTRACT, b"Events", b"\xff", "TOML"),
        (PERSON_CONTRACT, b'use = "unit"', b'use = "linkage"', "exactly one identifier"),
        (PERSON_CONTRACT, b'max = "50"', b'max = "50.3"', "whole multiples"),
        (PERSON_CONTRACT, b'max = "50"', b'max = "-10"', "min < max"),
        (PERSON_CONTRACT, b'resolution = "1/2"', b"resolution = 0.5", "float"),
        (PERSON_CONTRACT, b'max = "50"', b'max = "9e12"', "2\\^40"),
    ],
)
def test_a_contract_refuses(contract, before, after, message):
    """Each rule of a contract is enforced where it is read, and the message names the rule."""
    assert Contract.from_toml(contract)
    assert before in contract
    with pytest.raises(Malformed, match=message):
        Contract.from_toml(contract.replace(before, after))


def test_the_encoding_is_that_of_the_specification():
    """The example of the DSSE specification comes out byte for byte."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_an_envelope_opens_only_as_what_was_signed():
    """Another type, another key, too few signatures and another payload are each refused."""
    first, second = KeySigner(Ed25519PrivateKey.generate()), KeySigner(Ed25519PrivateKey.generate())
    keys = {signer.key_id: signer._private.public_key() for signer in (first, second)}
    envelope = seal(HELLO, b"payload", first)
    assert open_envelope(envelope, HELLO, keys) == b"payload"
    assert open_envelope(seal(HELLO, b"payload", first, second), HELLO, keys, threshold=2) == b"payload"
    with pytest.raises(Untrusted, match="expected a payload of type"):
        open_envelope(envelope, READY, keys)
    with pytest.raises(Untrusted, match="2 needed"):
        open_envelope(envelope, HELLO, keys, threshold=2)
    with pytest.raises(Untrusted, match="1 needed"):
        open_envelope(envelope, HELLO, {second.key_id: keys[second.key_id]})
    changed = type(envelope)(HELLO, b"other", envelope.signatures)
    with pytest.raises(Untrusted, match="does not verify"):
        open_envelope(changed, HELLO, keys)
    with pytest.raises(Malformed, match="different keys"):
        seal(HELLO, b"payload", first, first)


@given(st.binary(max_size=200))
def test_json_form_brings_the_envelope_back(payload):
    """Writing and reading lose nothing."""
    envelope = seal(HELLO, payload, KeySigner(Ed25519PrivateKey.from_private_bytes(bytes(32))))
    assert from_json(to_json(envelope)) == envelope


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"payload": 1, "payloadType": "", "signatures": []}'])
def test_json_that_is_no_envelope_is_malformed(text):
    """What is not an envelope is never a stray error."""
    with pytest.raises(Malformed, match="not a signed envelope"):
        from_json(text)
