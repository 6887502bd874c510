"""Who may connect as whom, what is refused on the wire, and the way out through a proxy."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from live import BEHIND_PROXY, PURPOSE, Live, call_cordon, run_cordon

from cordon.envelope import Envelope, KeySigner
from cordon.errors import Malformed, Refused, Unavailable, Untrusted
from cordon.identity import Identity, Role, certify, new_authority
from cordon.keyfile import read_signing_key
from cordon.manifest import read_manifest
from cordon.register.leaf import Checkpoint
from cordon.units import Digest
from cordon.wire.channel import MOST_MESSAGE_BYTES, Channel, Credentials
from cordon.wire.messages import PROTOCOL_VERSION, CatalogueRequest, Hello, QueryName
from cordon.wire.services import ANSWER, CATALOGUE, FOLLOW, METHODS, PROCEED, SUM, WATCH, Method
from cordon.wire.signed import sign

pytestmark = pytest.mark.xdist_group("federation")

SECONDS = 10.0
ONE, OTHER = "cumbria", "city-of-london"
COUNT = "SELECT COUNT(*) FROM street_crime"


@contextmanager
def channel(live: Live, party: str) -> Iterator[Channel]:
    """A channel with the TLS files of a party."""
    with closing(Channel(f"127.0.0.1:{live.layout.design.port}", live.credentials(party))) as opened:
        yield opened


@contextmanager
def raw_channel(live: Live, party: str) -> Iterator[Any]:
    """A bare gRPC channel with the TLS files of a party, for bytes that our own client never sends."""
    files = live.credentials(party)
    secure = grpc.ssl_channel_credentials(files.authority, files.key, files.certificate)
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(f"127.0.0.1:{live.layout.design.port}", secure, options=options) as opened:
        yield opened


def hello(
    live: Live, force: str, *, signed_by: str = "", off: int = 0, version: int = PROTOCOL_VERSION, manifest: int = 0
) -> Envelope:
    """What a node says first, true but for what a test changes."""
    own, _ = read_manifest(live.layout.root / "manifest.json", live.layout.governance_keys)
    key = read_signing_key(live.layout.force_folder(signed_by or force) / "signing.key")
    said = Hello(
        force=force,
        protocol_version=version,
        features=(),
        contracts=(),
        manifest_version=own.version + manifest,
        manifest_hash=own.digest,
        checkpoint=Checkpoint(),
        ledger_sequence=0,
        challenge=secrets.token_bytes(32),
        sent_at=int(time.time()) + off,
    )
    return sign(said, KeySigner(key))


def watch(live: Live, party: str, said: Envelope) -> None:
    """Open Watch and take the first task."""
    with channel(live, party) as opened:
        for _ in opened.stream(WATCH, said, timeout=SECONDS):
            return


# Identity


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_node_whose_clock_is_off_is_told_so(live: Live, off: int) -> None:
    """A Hello from an hour before or after is refused, and the message names the clock."""
    with pytest.raises(Untrusted, match=f"clock is off by {off // 10}"):
        watch(live, f"forces/{ONE}", hello(live, ONE, off=off))
    assert ONE in live.connected()


def test_a_force_cannot_connect_as_another(live: Live) -> None:
    """A Hello for another force is refused, whichever of both forces' keys has signed it."""
    with pytest.raises(Untrusted, match="says that it is"):
        watch(live, f"forces/{ONE}", hello(live, OTHER, signed_by=ONE))
    with pytest.raises(Untrusted):
        watch(live, f"forces/{ONE}", hello(live, OTHER))
    assert {ONE, OTHER} <= live.connected()


def test_another_protocol_version_or_manifest_is_refused_in_words(live: Live) -> None:
    """A node of a later protocol or manifest version is told which side to upgrade."""
    with pytest.raises(Refused, match="protocol version"):
        watch(live, f"forces/{ONE}", hello(live, ONE, version=PROTOCOL_VERSION + 1))
    with pytest.raises(Refused, match="install the same on both"):
        watch(live, f"forces/{ONE}", hello(live, ONE, manifest=1))


def test_an_analyst_cannot_watch_and_a_force_cannot_ask(live: Live) -> None:
    """The role in the certificate decides which service answers."""
    with pytest.raises(Untrusted, match="is not a force"):
        watch(live, "analysts/alice", hello(live, ONE))
    with channel(live, f"forces/{ONE}") as opened, pytest.raises(Untrusted, match="is not an analyst"):
        opened.call(CATALOGUE, CatalogueRequest(), timeout=SECONDS)


def test_one_analyst_cannot_follow_push_or_fetch_anothers_query(live: Live) -> None:
    """Follow, Proceed and Sum of another analyst's query are refused."""
    query = QueryName(Digest.fromhex(live.ask(COUNT, epsilon="1/4")["query"]))
    with channel(live, "analysts/bob") as opened:
        with pytest.raises(Untrusted, match="who submitted it only"):
            list(opened.stream(FOLLOW, query, timeout=SECONDS))
        with pytest.raises(Untrusted):
            opened.call(PROCEED, query, timeout=SECONDS)
        with pytest.raises(Untrusted):
            list(opened.stream(SUM, query, timeout=SECONDS))


def test_a_certificate_of_another_authority_does_not_connect(live: Live) -> None:
    """The coordinator takes no certificate that its own authority has not issued, whatever it names."""
    private, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    foreign = certify(
        Identity(Role.FORCE, ONE), key.public_key(), authority=new_authority("Other", private), private=private
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = Credentials(live.credentials(f"forces/{ONE}").authority, foreign.public_bytes(Encoding.PEM), pem)
    address = f"127.0.0.1:{live.layout.design.port}"
    with closing(Channel(address, files)) as opened, pytest.raises(Unavailable, match="cannot reach"):
        list(opened.stream(WATCH, hello(live, ONE), timeout=SECONDS))


def test_a_coordinator_of_another_authority_is_not_talked_to(live: Live, tmp_path: Path) -> None:
    """An analyst who trusts another authority sends nothing: exit 5, with a hint about the authority."""
    profile = _copied_profile(live, tmp_path)
    foreign = new_authority("Other", ec.generate_private_key(ec.SECP256R1()))
    (profile.parent / "authority.pem").write_bytes(foreign.public_bytes(Encoding.PEM))
    done = call_cordon("datasets", "--profile", str(profile))
    assert (done.code, done.out) == (5, "")
    assert "same authority" in done.err
    assert "Traceback" not in done.err


# Bytes that are not the protocol


def test_a_plaintext_client_gets_nothing(live: Live) -> None:
    """Without TLS the port answers nothing of HTTP/2 or HTTP/1, and goes on serving others."""
    with grpc.insecure_channel(f"127.0.0.1:{live.layout.design.port}", [("grpc.enable_http_proxy", 0)]) as opened:
        with pytest.raises(grpc.RpcError) as caught:
            opened.unary_unary(CATALOGUE.path)(b"", timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with socket.create_connection(("127.0.0.1", live.layout.design.port), timeout=SECONDS) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(4096).startswith(b"HTTP")
    assert live.connected()


def _sent(opened: Any, method: Method, data: bytes) -> grpc.StatusCode:
    """Status that the coordinator ends a call with, when it is sent these bytes."""
    try:
        if method.request_stream:
            opened.stream_unary(method.path)(iter([data]), timeout=SECONDS)
        elif method.response_stream:
            list(opened.unary_stream(method.path)(data, timeout=SECONDS))
        else:
            opened.unary_unary(method.path)(data, timeout=SECONDS)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_garbage_is_malformed_at_every_method(live: Live, method: Method) -> None:
    """Random bytes, and bytes with an unknown field, are refused as malformed or unsupported, never a fault."""
    party = f"forces/{ONE}" if method.service == "Federation" else "analysts/alice"
    with raw_channel(live, party) as opened:
        for data in (b"\xff" * 64, secrets.token_bytes(300), b"\xfa\x3f\x04" + b"more"):
            assert _sent(opened, method, data) in {
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.UNIMPLEMENTED,
            }


def test_an_oversized_message_is_refused_before_it_is_parsed(live: Live) -> None:
    """A message above the limit is refused, and the coordinator serves on."""
    with raw_channel(live, f"forces/{ONE}") as opened:
        status = _sent(opened, ANSWER, bytes(MOST_MESSAGE_BYTES + 1))
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert live.connected()


def test_a_method_that_does_not_exist_is_said_not_to(live: Live) -> None:
    """An unknown method or service is unimplemented."""
    with raw_channel(live, "analysts/alice") as opened:
        for path in ("/cordon.wire.v1.Analysis/Records", "/cordon.wire.v1.Nothing/At", "/x"):
            assert _sent(opened, Method("x", "x", None, None), b"") is grpc.StatusCode.UNIMPLEMENTED
            with pytest.raises(grpc.RpcError) as caught:
                opened.unary_unary(path)(b"", timeout=SECONDS)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_malformed_request_is_typed_at_the_client(live: Live) -> None:
    """The status comes back as the error that the coordinator raised."""
    with channel(live, "analysts/alice") as opened, pytest.raises(Malformed):
        # An Envelope where a query's name is expected: fields that the message does not have.
        opened.call(Method("Analysis", "Proceed", Envelope, PROCEED.response), hello(live, ONE), timeout=SECONDS)


# The way out


def test_node_and_analyst_reach_the_coordinator_through_a_proxy_only(live: Live, tmp_path: Path) -> None:
    """With an address that nobody listens on, CONNECT through the proxy works and nothing else does."""
    assert live.proxy is not None
    node_config = live.layout.node_config(BEHIND_PROXY).read_text(encoding="utf-8")
    unreachable = next(line for line in node_config.splitlines() if line.startswith("coordinator = ")).split('"')[1]
    direct = _copied_profile(live, tmp_path / "direct", coordinator=unreachable)
    proxied = _copied_profile(
        live, tmp_path / "proxied", coordinator=unreachable, proxy=f"http://127.0.0.1:{live.proxy.port}"
    )
    failed = call_cordon("datasets", "--profile", str(direct))
    assert (failed.code, failed.out) == (5, "")
    assert "cannot reach the coordinator" in failed.err
    before = len(live.proxy.asked)
    done = run_cordon(
        "query", COUNT, "--epsilon", "1", "--purpose", PURPOSE, "--format", "json", "--profile", str(proxied)
    )
    assert done.code == 0, done.err
    assert BEHIND_PROXY in json.loads(done.out)["answered"]
    assert len(live.proxy.asked) > before
    assert set(live.proxy.asked) == {unreachable}


def test_the_environments_proxy_is_not_used(live: Live) -> None:
    """A proxy in the environment, where nobody listens, changes nothing: what is not configured is not used."""
    nobody = "http://127.0.0.1:9"
    done = run_cordon("datasets", *live.profile, https_proxy=nobody, http_proxy=nobody, grpc_proxy=nobody)
    assert done.code == 0, done.err


def test_a_coordinator_that_cannot_be_reached_is_said_so(live: Live, tmp_path: Path) -> None:
    """Exit 5, one error line and a hint, and nothing on standard output."""
    profile = _copied_profile(live, tmp_path, coordinator="127.0.0.1:9")
    done = run_cordon("query", COUNT, "--epsilon", "1", "--purpose", PURPOSE, "--profile", str(profile))
    assert (done.code, done.out) == (5, "")
    assert [line.split(":")[0] for line in done.err.strip().splitlines()] == ["error", "hint"]


def _copied_profile(live: Live, folder: Path, *, coordinator: str = "", proxy: str = "") -> Path:
    source = live.layout.profile().parent
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("signing.key", "signing.pem", "tls.key", "tls.pem", "authority.pem"):
        (folder / name).write_bytes((source / name).read_bytes())
        (folder / name).chmod(0o600)
    text = live.layout.profile().read_text(encoding="utf-8")
    if coordinator:
        text = text.replace(f"127.0.0.1:{live.layout.design.port}", coordinator)
    if proxy:
        text = f'proxy = "{proxy}"\n{text}'
    (folder / "analyst.toml").write_text(text, encoding="utf-8")
    return folder / "analyst.toml"
