"""What a source's URL may hold: an address and options from a closed list, and no password in whatever disguise."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

OPTIONS: dict[str, frozenset[str]] = {
    "postgresql": frozenset(
        {
            "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation", "channel_binding", "gssencmode",
            "krbsrvname", "hostaddr", "target_session_attrs", "keepalives", "keepalives_idle", "keepalives_interval",
            "keepalives_count", "tcp_user_timeout",
        }
    ),
    "sql_server": frozenset(
        {
            "Encrypt", "TrustServerCertificate", "HostNameInCertificate", "ServerCertificate", "MultiSubnetFailover",
            "ConnectRetryCount", "ConnectRetryInterval", "KeepAlive", "KeepAliveInterval",
        }
    ),
    "oracle": frozenset(
        {"config_dir", "wallet_location", "ssl_server_dn_match", "ssl_server_cert_dn", "https_proxy", "retry_count"}
    ),
    "mysql": frozenset({"ssl_mode", "unix_socket", "compress"}),
    "trino": frozenset({"http_scheme", "verify"}),
    "spark": frozenset({"spark.ui.enabled", "spark.cores.max", "spark.driver.memory", "spark.executor.memory"}),
}  # fmt: skip
"""By kind, the options that may stand behind `?`; a driver takes many more, some of which hold secrets, run programs or
undo what makes a session read-only."""

_SPARK_SQL = re.compile(r"spark\.sql\.[A-Za-z.]+")
_SECRET = re.compile(r"passw|passphrase|pwd|auth|secret|token|credential", re.IGNORECASE)
_ENDS_A_PART = re.compile(r"[;{}=\0]")
"""What ends a part of an ODBC connection string, and begins another."""


def check_url(url: str, kind: str) -> None:
    """Refuse a URL that holds a password, or an option that is none of its kind's.

    Raises:
        ValueError: says what is wrong, without the part that may be a secret.
    """
    rest = url.partition("://")[2]
    # In a URL's own grammar `sql_server` is no scheme, so its parts would not be told apart.
    parts = urlsplit(f"database://{rest}")
    # Up to the last @, since a password may hold any letter.
    before = unquote(rest.partition("?")[0].rpartition("@")[0])
    options = parse_qsl(parts.query, keep_blank_values=True)
    if ":" in before or any(_SECRET.search(name) for name, _ in options):
        raise ValueError("the url must not hold a password; name password_env or password_file")
    if "#" in url:
        raise ValueError("the url holds a #; write %23 for one in a name")
    known = OPTIONS[kind]
    if not all(name in known or (kind == "spark" and _SPARK_SQL.fullmatch(name)) for name, _ in options):
        further = " and spark.sql.…" if kind == "spark" else ""
        raise ValueError(
            f"the url has an option that {kind} is not given; there are {', '.join(sorted(known))}{further}"
        )
    address = (before, unquote(parts.hostname or ""), unquote(parts.path), *(value for _, value in options))
    if kind == "sql_server" and any(_ENDS_A_PART.search(part) for part in address):
        raise ValueError("the url of a sql_server source holds one of ; { } = where a name or a value stands")
