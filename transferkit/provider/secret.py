"""Secrets of a configuration, and how secrets and phone numbers are kept out of text.

`redact` and `safe_repr` (for attrs fields: `field(repr=safe_repr)`) mask phone numbers, tokens and keys in
text that comes from elsewhere. `MASK` stands for a whole secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn, final

from attrs import field, frozen

from transferkit._util.redaction import MASK, redact, safe_repr
from transferkit.errors import ConfigError, Problem

__all__ = ["MASK", "Secret", "redact", "safe_repr"]


@final
@frozen(repr=False, str=False, kw_only=True)
class Secret:
    """Text that must not be shown: given as text, by the name of an environment variable, or by a file.

    It is resolved when it is first needed. Its `repr` shows where it comes from, never the text.
    """

    key: str = "secret"
    """The configuration key, for error messages."""
    value: str | None = field(default=None)
    env: str | None = None
    file: Path | None = None

    def resolve(self) -> str:
        """Return the text. Raises `ConfigError` if the variable or file is missing or empty."""
        if self.value is not None:
            return self.value
        if self.env is not None:
            found = os.environ.get(self.env)
            return found or self._missing(f"environment variable {self.env} is not set")
        if self.file is not None:
            try:
                found = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                return self._missing(f"file {self.file} cannot be read ({type(error).__name__})")
            return found or self._missing(f"file {self.file} is empty")
        return self._missing("has no value")

    def _missing(self, why: str) -> NoReturn:
        accepts = 'text, { env = "NAME" } or { file = "path" }'
        raise ConfigError("secrets", [Problem(self.key, why, accepts)]) from None

    def __repr__(self) -> str:
        place = f"env {self.env}" if self.env else f"file {self.file}" if self.file else MASK
        return f"<secret: {place}>"

    def __str__(self) -> str:
        return repr(self)
