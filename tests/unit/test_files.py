"""Files of our own: missing, cut, readable by others, of another kind or with a misspelt key, each is named."""

import json
import re
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from examples import ROW_CONTRACT

from coordinator.config import CoordinatorConfig
from cordon.analyst.profile import VARIABLE, Profile, find_profile, read_profile
from cordon.catalogue import bundled_contracts, listed_contracts, read_catalogue
from cordon.cli import run
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.envelope import MANIFEST, KeySigner, from_json, seal, to_json
from cordon.errors import Malformed, Misconfigured, Untrusted
from cordon.identity import (
    Identity,
    Role,
    certify,
    new_authority,
    read_request,
    request_certificate,
    verify_certificate,
)
from cordon.keyfile import (
    read_authority_key,
    read_certificate,
    read_private_key,
    read_seal_key,
    read_signing_key,
    write_certificate,
    write_new,
    write_private_key,
)
from cordon.logs import ALLOWED, MOST_CHARACTERS, open_log, redact
from cordon.manifest import parse_manifest, read_manifest
from demo.layout import Design, lay_out
from node.config import NodeConfig
from node.mapping import Mapping
from node.policy import Policy

READERS = {"ed25519": read_signing_key, "x25519": read_seal_key, "p256": read_authority_key}
KEYS = {
    "ed25519": Ed25519PrivateKey.generate(),
    "x25519": X25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
}
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """The files of a federation of three."""
    return lay_out(tmp_path_factory.mktemp("federation") / "root", Design(forces=("essex", "kent", "surrey")))


# Keys


@pytest.mark.parametrize("kind", READERS)
def test_keys_come_back_and_are_the_owners_alone(tmp_path, kind):
    """What is written can be read as its kind, by its owner only, and is never overwritten."""
    path = tmp_path / "key.pem"
    write_private_key(path, KEYS[kind])
    assert path.stat().st_mode & 0o777 == 0o600
    assert READERS[kind](path).public_key() == KEYS[kind].public_key()
    with pytest.raises(Misconfigured, match="exists already"):
        write_private_key(path, KEYS[kind])
    assert [item.name for item in tmp_path.iterdir()] == ["key.pem"], "nothing is left of the second try"


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("found", READERS)
def test_a_key_of_another_kind_is_named(tmp_path, kind, found):
    """A key is never used as another kind than it is."""
    path = tmp_path / "key.pem"
    write_private_key(path, KEYS[found])
    if kind == found:
        assert READERS[kind](path)
        return
    with pytest.raises(Misconfigured, match=re.escape(str(path))):
        READERS[kind](path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_can_reach_is_refused(tmp_path, mode):
    """The hint says how to mend it."""
    path = tmp_path / "key.pem"
    write_private_key(path, KEYS["ed25519"])
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="read by others") as refusal:
        read_signing_key(path)
    assert refusal.value.hint == f"chmod 600 {path}"


def pem(key, encryption=None):
    """A private key in PEM form."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"not a key", b"\xff\x00", pem(KEYS["ed25519"])[:60],
        pem(KEYS["ed25519"], BestAvailableEncryption(b"word")),
        KEYS["ed25519"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        pem(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["empty", "text", "binary", "cut", "encrypted", "public", "rsa"],
)  # fmt: skip
def test_what_is_no_key_of_ours_is_named(tmp_path, content):
    """Each damage is a fault of that file, and never a stray error."""
    path = tmp_path / "key.pem"
    write_new(path, content, mode=0o600)
    with pytest.raises(Misconfigured, match=re.escape(str(path))):
        read_private_key(path)


@pytest.mark.parametrize("reader", [read_private_key, read_certificate])
def test_a_missing_file_is_named(tmp_path, reader):
    """The path, and what the system says of it."""
    with pytest.raises(Misconfigured, match=r"missing\.pem: No such file"):
        reader(tmp_path / "missing.pem")


def test_files_that_cannot_be_written_are_named(tmp_path):
    """A folder that is not there ends in an error of ours."""
    with pytest.raises(Misconfigured, match="cannot write"):
        write_private_key(tmp_path / "nowhere" / "key.pem", KEYS["ed25519"])


@pytest.mark.parametrize(
    "content",
    [b"", b"-----BEGIN CERTIFICATE-----\n", b"text", pem(KEYS["p256"])],
    ids=["empty", "cut", "text", "a private key"],
)
def test_what_is_no_certificate_is_named(tmp_path, content):
    """Empty, cut, text and a key."""
    path = tmp_path / "certificate.pem"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="not a certificate"):
        read_certificate(path)


# Certificates

AUTHORITY = new_authority("Test", KEYS["p256"])
AUTHORITY_PEM = AUTHORITY.public_bytes(Encoding.PEM).decode()
ALICE = Identity(Role.ANALYST, "alice")


def certified(identity=ALICE, key=None, authority=AUTHORITY, private=None, **more):
    """A certificate in DER form."""
    public = (key or KEYS["ed25519"]).public_key()
    found = certify(identity, public, authority=authority, private=private or KEYS["p256"], **more)
    return found.public_bytes(Encoding.DER), int(found.not_valid_before_utc.timestamp()) + 7200


def verified(der, now, roles=frozenset({Role.ANALYST})):
    """What a party makes of a certificate."""
    return verify_certificate(der, AUTHORITY_PEM, roles=roles, now=now)


def test_a_certificate_names_a_party_and_its_key():
    """Role, name and key are those that were certified."""
    der, now = certified()
    found = verified(der, now)
    assert (found.identity, found.key) == (ALICE, KEYS["ed25519"].public_key())


def test_certificates_that_do_not_hold_are_untrusted():
    """Another authority, another role, another time, a TLS key, an authority's own, and bytes that are none."""
    der, now = certified()
    other_key = ec.generate_private_key(ec.SECP256R1())
    forged, _ = certified(authority=AUTHORITY, private=other_key)
    foreign, _ = certified(authority=new_authority("Test", other_key), private=other_key)
    for bytes_, at, roles in (
        (forged, now, {Role.ANALYST}), (foreign, now, {Role.ANALYST}), (der, now, {Role.AUDITOR}),
        (der, now - 86_400, {Role.ANALYST}), (der, now + 900 * 86_400, {Role.ANALYST}),
        (certified(key=other_key)[0], now, {Role.ANALYST}), (der[:-1], now, {Role.ANALYST}), (b"", now, {Role.ANALYST}),
        (AUTHORITY.public_bytes(Encoding.DER), now, {Role.ANALYST}),
    ):  # fmt: skip
        with pytest.raises(Untrusted):
            verified(bytes_, at, frozenset(roles))


def test_only_a_coordinator_is_certified_for_a_host():
    """Whoever has a certificate for the coordinator's name could stand in for it."""
    with pytest.raises(Untrusted, match="only a coordinator"):
        certified(hosts=("coordinator.example",))
    assert certified(Identity(Role.COORDINATOR, "c"), hosts=("coordinator.example", "127.0.0.1"))


def test_a_request_is_signed_by_the_key_that_it_is_for():
    """A changed request, and what is no request, are untrusted."""
    found = request_certificate(ALICE, KEYS["ed25519"]).public_bytes(Encoding.PEM)
    assert read_request(found).identity == ALICE
    for wrong in (b"", b"text", found[:-40], AUTHORITY_PEM.encode()):
        with pytest.raises(Untrusted):
            read_request(wrong)
    der = bytearray(request_certificate(ALICE, KEYS["ed25519"]).public_bytes(Encoding.DER))
    der[-1] ^= 1
    from cryptography import x509

    with pytest.raises(Untrusted, match="not signed by the key"):
        read_request(x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    "uri", ["", "cordon://", "cordon://force", "cordon://force/", "cordon://king/x", "https://force/kent"]
)
def test_a_uri_that_names_no_party_is_untrusted(uri):
    """Scheme, role and name must all be there."""
    assert Identity.from_uri("cordon://force/kent") == Identity(Role.FORCE, "kent")
    with pytest.raises(Untrusted):
        Identity.from_uri(uri)


# Settings


def configs(layout):
    """Each party's TOML file, and what it is read as."""
    return [
        (layout.node_config("kent"), NodeConfig), (layout.coordinator_config, CoordinatorConfig),
        (layout.profile("alice"), Profile),
    ]  # fmt: skip


def test_settings_with_a_misspelt_missing_or_wrong_key_are_refused(layout, tmp_path):
    """Of every party's file: an unknown key, each missing one, a wrong type, a cut file and bytes that are no text."""
    for path, kind in configs(layout):
        assert read_config(path, kind)
        text = path.read_text()
        copy = tmp_path / path.name
        cut = text[: text.rindex("=") + 1]
        for content in (f"misspelt = 1\n{text}".encode(), b"", cut.encode(), b"\xff\xfe", b"a = = 1"):
            copy.write_bytes(content)
            with pytest.raises(Misconfigured, match=re.escape(path.name)):
                read_config(copy, kind)
        first = text.splitlines()[0].split(" = ")[0]
        copy.write_text(re.sub(rf"^{first} = .*$", f"{first} = [[1]]", text, count=1, flags=re.MULTILINE))
        with pytest.raises(Misconfigured, match=first):
            read_config(copy, kind)
        copy.unlink()
        with pytest.raises(Misconfigured, match="cannot read"):
            read_config(copy, kind)


POLICY = '[budget.stops]\nepsilon_per_year = "1"\nepsilon_lifetime = "10"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the key budget is missing"),
        ("[budget.stops]\n", "the keys budget.stops.epsilon_per_year and budget.stops.epsilon_lifetime are missing"),
        (f'closed_column = ["a"]\n{POLICY}', "there is no key closed_column; did you mean closed_columns?"),
        (f"{POLICY}epsilon_per_yeer = 1\n", "there is no key budget.stops.epsilon_per_yeer; did you mean epsilon_per_"),
        (f'{POLICY}[[officer]]\nnam = "x"\nkey = "y"\n', "no key officer.nam (number 1); did you mean name?"),
        (f"zebra = 1\n{POLICY}", "there is no key zebra"),
        (POLICY.replace('"10"', '"ten"'), 'budget.stops.epsilon_lifetime: must be a number in quotes, such as "1/10"'),
        (POLICY.replace('"10"', "0.5"), "budget.stops.epsilon_lifetime: write the number as a string"),
        (POLICY.replace("stops", "Stops"), "budget.Stops: must be lower-case letters, digits and underscores"),
        ("[budget]\n", "budget: must have at least one entry"),
        (f"oldest_snapshot_days = 1.5\n{POLICY}", "oldest_snapshot_days: must be a whole number without quotes"),
        (f"oldest_snapshot_days = 0\n{POLICY}", "oldest_snapshot_days: must be at least 1"),
        (f'approval = "maybe"\n{POLICY}', "approval: must be one of 'automatic' or 'manual'"),
        (f'allow_by_force = "so"\n{POLICY}', "allow_by_force: must be true or false"),
        (f'datasets = "stops"\n{POLICY}', "datasets: must be a list in square brackets"),
        (f'approval = "manual"\n{POLICY}', "policy.toml: a person is to decide"),
        (f"{POLICY}{POLICY}", "policy.toml: a table stands twice (line 4, column 14)"),
        (f"{POLICY}epsilon_lifetime = 1\n# end", "policy.toml: a key stands twice (line 4, column 21)"),
        ("as_at = 2026-02-31\n", "policy.toml: a date or time that no calendar or clock has (line 1, column 9)"),
        ("as_at = \n", "policy.toml is not TOML, or is truncated: Invalid value (line 1, column 9)"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_plain_words(tmp_path, content, words):
    """Every missing and every unknown key at once, the nearest key there is, and of a value what it must be."""
    path = tmp_path / "policy.toml"
    path.write_text(content)
    with pytest.raises(Misconfigured) as refused:
        read_config(path, Policy)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"2024-01"', '"2024-13"', 'first_month: must be a month in quotes, such as "2024-01"'),
        ('"2024-01"', '"2025-01"', ": first_month must not come after last_month"),
        ("2025-01-31", '"31/01/2025"', "as_at: must be a date without quotes, such as 2025-01-31"),
        ('kind = "csv"', 'kind = "cvs"', "source.kind: must be one of 'csv', 'parquet'"),
        (
            'path = "x.csv"',
            'url = "db.example.org"',
            "source.url: must be an address without blanks, such as postgresql:",
        ),
        ('source = "a"', 'sourc = "a"', "there is no key columns.a.sourc; did you mean source?"),
        ('source = "a"', "", "columns.a: needs either source or expression"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_in_plain_words(tmp_path, before, after, words):
    """Months, dates, kinds and addresses by what they look like, and never by a pattern of letters."""
    text = (
        'dataset = "n"\nversion = 1\ndomain = "d"\nas_at = 2025-01-31\nfirst_month = "2024-01"\nlast_month = "2024-12"\n'
        '[source]\nkind = "csv"\npath = "x.csv"\n[columns.a]\nsource = "a"\n'
    )
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    assert read_config(path, Mapping)
    path.write_text(text.replace(before, after))
    with pytest.raises(Misconfigured) as refused:
        read_config(path, Mapping)
    assert words in str(refused.value)
    assert "^" not in str(refused.value)


def test_paths_count_from_the_files_folder(layout):
    """A service finds its files whatever its working directory is."""
    for path, kind in configs(layout):
        found = read_config(path, kind)
        paths = [value for value in dict(found).values() if isinstance(value, Path)] + list(dict(found.tls).values())
        assert paths
        assert all(item.is_absolute() for item in paths)


def test_a_missing_profile_says_how_to_name_one(tmp_path, monkeypatch):
    """The variable is read, and the hint names it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine.toml"))
    assert find_profile(None) == tmp_path / "mine.toml"
    with pytest.raises(Misconfigured, match=r"no profile at .*mine\.toml") as refusal:
        read_profile(None)
    assert VARIABLE in refusal.value.hint


# Manifest and catalogue


def test_a_manifest_file_that_does_not_hold_is_refused(layout, tmp_path):
    """Missing, cut, changed, too few signers and other governance keys."""
    path, keys = layout.root / "manifest.json", layout.governance_keys
    manifest, envelope = read_manifest(path, keys)
    text = path.read_text()
    changed = type(envelope)(MANIFEST, envelope.payload + b"\n", envelope.signatures)
    single = type(envelope)(MANIFEST, envelope.payload, envelope.signatures[:1])
    copy = tmp_path / "manifest.json"
    for content in (text[: len(text) // 2], "", "{}", to_json(changed), to_json(single)):
        copy.write_text(content)
        with pytest.raises(Misconfigured, match=re.escape(str(copy))) as refusal:
            read_manifest(copy, keys)
        assert "governance" in refusal.value.hint
    copy.write_bytes(b"\xff")
    for where, trusted in ((copy, keys), (tmp_path / "missing.json", keys), (path, ("00" * 31 + "09",))):
        with pytest.raises(Misconfigured):
            read_manifest(where, trusted)
    assert manifest.version == 1


@pytest.mark.parametrize("key", ["", "zz" * 32, "ab" * 31, "AB" * 33])
def test_a_trusted_key_that_is_none_is_named(layout, key):
    """What an officer has mistyped is a fault of the settings, and never a stray error."""
    with pytest.raises(Misconfigured, match="governance key"):
        read_manifest(layout.root / "manifest.json", (key, *layout.governance_keys))


def test_rules_of_a_manifest(layout):
    """Two members with one key, an odd delta, an unknown key, a threshold out of reach and floats are refused."""
    payload = from_json((layout.root / "manifest.json").read_text()).payload
    manifest = parse_manifest(payload)
    kent, essex = manifest.by_id["kent"].signing_key, manifest.by_id["essex"].signing_key
    delta = re.search(rb"^delta = .*$", payload, re.MULTILINE)[0]
    threshold = re.search(rb"^threshold = .*$", payload, re.MULTILINE)[0]
    for before, after, message in (
        (kent.encode(), essex.encode(), "share an id or a signing key"),
        (delta, b'delta = "1/1000"', "delta"), (delta, b"delta = 1e-9", "float"), (delta, b"", "delta"),
        (threshold, b"threshold = 9", "threshold"), (threshold, b"threshold = 0", "threshold"),
        (kent.encode(), kent.upper().encode(), "lower-case"), (b"[limits]", b"[limits]\nsurprise = 1", "surprise"),
        (b"[limits]", b"[limits", "TOML"),
    ):  # fmt: skip
        assert before in payload
        with pytest.raises(Malformed, match=message):
            parse_manifest(payload.replace(before, after, 1))


def test_a_catalogue_holds_what_the_manifest_lists_by_its_bytes(layout, tmp_path):
    """One changed byte of a contract is another contract; a file that is not listed does not count."""
    manifest, _ = read_manifest(layout.root / "manifest.json", layout.governance_keys)
    catalogue = read_catalogue(manifest)
    assert {payload for _, payload in catalogue.values()} <= set(bundled_contracts())
    assert set(listed_contracts(manifest, [*bundled_contracts(), ROW_CONTRACT])) == set(catalogue)
    changed = [payload + b"\n" for payload in bundled_contracts()]
    with pytest.raises(Untrusted, match="not at hand as the manifest lists it"):
        listed_contracts(manifest, changed)
    digest = Contract.from_toml(ROW_CONTRACT).digest
    listed = f'\n[[contract]]\ndataset = "events"\nversion = 1\nsha256 = "{digest}"\n'
    more = parse_manifest(from_json((layout.root / "manifest.json").read_text()).payload + listed.encode())
    with pytest.raises(Misconfigured, match="events v1") as refusal:
        read_catalogue(more, tmp_path)
    assert "contracts folder" in refusal.value.hint
    (tmp_path / "events.toml").write_bytes(ROW_CONTRACT)
    assert ("events", 1) in read_catalogue(more, tmp_path)


# Logs


def test_only_listed_fields_are_logged(tmp_path):
    """A field that nobody has listed, and a value that is no short text or number, never reach a log."""
    log = open_log(tmp_path / "log")
    log.info(
        "contributed",
        force="kent",
        seconds=1.5,
        secret="HIDDEN",
        person="HIDDEN",
        dataset=["HIDDEN"],
        path=Path("HIDDEN"),
    )
    log.warning("lost", reason="x" * 1000, query=b"HIDDEN", exception="HIDDEN")
    log.debug("HIDDEN")
    log.bind()._logger._file.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert "HIDDEN" not in json.dumps(lines)
    assert [set(line) for line in lines] == [
        {"event", "force", "seconds", "level", "timestamp"}, {"event", "reason", "level", "timestamp"},
    ]  # fmt: skip
    assert len(lines[1]["reason"]) == MOST_CHARACTERS


def test_every_listed_field_passes():
    """What is listed is not dropped."""
    assert set(redact(None, "info", dict.fromkeys(ALLOWED, "x") | {"other": "x"})) == ALLOWED


def test_a_log_goes_to_standard_error_where_no_file_is_named(capsys):
    """A service's own supervisor keeps it."""
    open_log(None).info("started", force="kent", other="HIDDEN")
    said = capsys.readouterr().err
    assert json.loads(said)["force"] == "kent"
    assert "HIDDEN" not in said
    assert structlog.is_configured() is False, "nothing is changed for others"


# Commands


def keys(*arguments, capsys):
    """`cordon keys …`: its exit code, and what it said."""
    code = run(["keys", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out.strip(), said.err.strip()


def test_a_party_gets_its_keys_and_certificate(tmp_path, capsys):
    """Authority, keys, request and certificate by the commands alone; what comes out verifies."""
    authority = ("--federation", "Test", "--key", tmp_path / "ca.key", "--certificate", tmp_path / "ca.pem")
    assert keys("authority", *authority, capsys=capsys)[0] == 0
    code, public, _ = keys("signing", tmp_path / "signing.key", capsys=capsys)
    assert (code, len(public)) == (0, 64)
    code, sealing, _ = keys("seal", tmp_path / "seal.key", capsys=capsys)
    assert sealing == read_seal_key(tmp_path / "seal.key").public_key().public_bytes_raw().hex()
    assert keys("tls", tmp_path / "tls.key", capsys=capsys)[0] == 0
    request = ("--role", "analyst", "--name", "alice", "--out")
    assert keys("request", tmp_path / "signing.key", *request, tmp_path / "alice.csr", capsys=capsys)[0] == 0
    signed_by = ("--authority-key", tmp_path / "ca.key", "--authority-certificate", tmp_path / "ca.pem")
    code, _, said = keys("certify", tmp_path / "alice.csr", *signed_by, "--out", tmp_path / "alice.pem", capsys=capsys)
    assert code == 0
    assert "certified cordon://analyst/alice until" in said
    certificate = read_certificate(tmp_path / "alice.pem")
    now = int(certificate.not_valid_before_utc.timestamp()) + 7200
    found = verify_certificate(
        certificate.public_bytes(Encoding.DER),
        (tmp_path / "ca.pem").read_text(),
        roles=frozenset({Role.ANALYST}),
        now=now,
    )
    assert found.key.public_bytes_raw().hex() == public
    for path, words in (
        ("signing.key", f"Ed25519 key to sign with, public {public}"), ("seal.key", f"X25519 key to seal to, public {sealing}"),
        ("tls.key", "P-256 key for TLS"), ("alice.pem", f"cordon://analyst/alice: Ed25519 {public}, valid until"),
        ("ca.pem", "an authority: TLS"),
    ):  # fmt: skip
        code, said, _ = keys("show", tmp_path / path, capsys=capsys)
        assert code == 0
        assert said.startswith(words)
        assert "PRIVATE" not in said
    private = [path for path in tmp_path.iterdir() if path.suffix == ".key"]
    assert len(private) == 4
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_wrong_uses_of_the_commands_end_in_an_error_that_helps(tmp_path, capsys):
    """An existing key, a key to seal to, a forged request, a host for a force and a missing file."""
    ca, ca_pem = tmp_path / "ca.key", tmp_path / "ca.pem"
    write_private_key(ca, KEYS["p256"])
    write_certificate(ca_pem, AUTHORITY)
    write_private_key(tmp_path / "seal.key", KEYS["x25519"])
    write_private_key(tmp_path / "tls.key", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "bad.csr").write_text("text")
    signed_by = ("--authority-key", ca, "--authority-certificate", ca_pem, "--out", tmp_path / "out.pem")
    as_force = ("--role", "force", "--name", "kent", "--out", tmp_path / "kent.csr")
    for arguments, exit_code, words in (
        (("signing", ca), 6, "exists already"),
        (("request", tmp_path / "seal.key", *as_force), 6, "key to seal to"),
        (("certify", tmp_path / "bad.csr", *signed_by), 4, "not a certificate request"),
        (("certify", tmp_path / "missing.csr", *signed_by), 6, "cannot read"),
        (("show", tmp_path / "missing.key"), 6, "cannot read"),
        (("show", tmp_path / "bad.csr"), 6, "bad.csr"),
    ):
        code, _, said = keys(*arguments, capsys=capsys)
        assert code == exit_code
        assert said.startswith("error: ")
        assert words in said
    assert keys("request", tmp_path / "tls.key", *as_force, "--host", "coordinator.example", capsys=capsys)[0] == 0
    code, _, said = keys("certify", tmp_path / "kent.csr", *signed_by, capsys=capsys)
    assert (code, "only a coordinator" in said) == (4, True)
    assert not (tmp_path / "out.pem").exists()


def test_governance_signs_a_manifest_in_turn(layout, tmp_path, capsys):
    """Two members sign one after the other; a stranger and another manifest are refused; then it verifies."""
    payload = from_json((layout.root / "manifest.json").read_text()).payload
    members = [Ed25519PrivateKey.generate() for _ in range(3)]
    for number, (old, key) in enumerate(zip(parse_manifest(payload).governance.keys, members, strict=True)):
        payload = payload.replace(old.encode(), key.public_key().public_bytes_raw().hex().encode())
        write_private_key(tmp_path / f"{number}.key", key)
    write_private_key(tmp_path / "stranger.key", Ed25519PrivateKey.generate())
    toml, out = tmp_path / "manifest.toml", tmp_path / "manifest.json"
    toml.write_bytes(payload)

    def sign(name, source=toml):
        return keys("sign-manifest", source, "--key", tmp_path / f"{name}.key", "--out", out, capsys=capsys)

    publics = [key.public_key().public_bytes_raw().hex() for key in members]
    trusted = [part for public in publics for part in ("--governance-key", public)]
    code, _, said = sign("stranger")
    assert (code, "not a governance key" in said, out.exists()) == (4, True, False)
    assert sign(0)[2].startswith("1 of the 2")
    code, _, said = keys("show-manifest", out, *trusted, capsys=capsys)
    assert (code, "2 needed" in said) == (6, True)
    assert sign(0)[2].startswith("1 of the 2"), "the same member twice is one member"
    assert sign(1)[2].startswith("2 of the 2")
    code, said, _ = keys("show-manifest", out, *trusted, capsys=capsys)
    assert code == 0
    assert "3 forces" in said
    assert all(force in said for force in ("essex", "kent", "surrey"))
    (tmp_path / "other.toml").write_bytes(payload.replace(b"version = 1", b"version = 2", 1))
    code, _, said = sign(0, tmp_path / "other.toml")
    assert (code, "another manifest" in said) == (6, True)
    code, _, said = keys("show-manifest", out, "--governance-key", "mistyped", capsys=capsys)
    assert (code, "governance key" in said) == (6, True)
    assert (
        seal(MANIFEST, payload, *(KeySigner(key) for key in members[:2])).payload == from_json(out.read_text()).payload
    )
