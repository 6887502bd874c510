"""Where a party's TLS files lie."""

from __future__ import annotations

from pathlib import Path

from cordon.configfile import ConfigModel
from cordon.wire.channel import Credentials


class TlsFiles(ConfigModel):
    """PEM files of one TLS end."""

    authority: Path
    """The federation's authority; *trusted for identity*: it decides who may connect."""

    certificate: Path
    """Our own certificate, issued by that authority."""

    key: Path
    """Our own private key. *Secret*: whoever reads it can connect as us, but cannot sign as us."""

    def read(self) -> Credentials:
        """Read the three files.

        Raises:
            Misconfigured: one of them is missing, truncated or not PEM.
        """
        return Credentials.read(self.authority, self.certificate, self.key)
