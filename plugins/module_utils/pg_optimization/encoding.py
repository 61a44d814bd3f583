"""The encoding of a database: what it can hold, how many bytes a name has in it, how texts come and go.

A connection speaks UTF-8, and the server converts. A database in SQL_ASCII has bytes of no encoding, and the server
converts nothing: the connection then takes bytes one by one, as LATIN1 does, and what is declared is meant in UTF-8.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RAW = "SQL_ASCII"
_BYTES = re.compile(r"[\x80-\xff]+")
# The names that Python has for the server's encodings, where it has one and it is another than the server's.
_CODECS = {
    "UTF8": "utf-8", "LATIN1": "iso8859-1", "LATIN2": "iso8859-2", "LATIN3": "iso8859-3", "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9", "LATIN6": "iso8859-10", "LATIN7": "iso8859-13", "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15", "LATIN10": "iso8859-16", "ISO_8859_5": "iso8859-5", "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7", "ISO_8859_8": "iso8859-8", "WIN866": "cp866", "WIN874": "cp874", "WIN1250": "cp1250",
    "WIN1251": "cp1251", "WIN1252": "cp1252", "WIN1253": "cp1253", "WIN1254": "cp1254", "WIN1255": "cp1255",
    "WIN1256": "cp1256", "WIN1257": "cp1257", "WIN1258": "cp1258", "KOI8R": "koi8-r", "KOI8U": "koi8-u",
    "EUC_JP": "euc_jp", "EUC_JIS_2004": "euc_jis_2004", "EUC_CN": "gb2312", "EUC_KR": "euc_kr",
}  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """An encoding by the server's name for it."""

    name: str = "UTF8"

    @property
    def raw(self) -> bool:
        """Tell whether the server takes bytes as they are."""
        return self.name == RAW

    @property
    def _codec(self) -> str | None:
        """Return Python's name of it, or None where Python has none; of SQL_ASCII the one that texts have here."""
        return _CODECS["LATIN1"] if self.raw else _CODECS.get(self.name)

    def size(self, text: str) -> int:
        """Return the bytes that the server has of a text; what has no place in the encoding counts as in UTF-8."""
        try:
            return len(codecs.encode(text, self._codec or "utf-8"))
        except UnicodeError:
            return len(text.encode(errors="surrogatepass"))

    def lacks(self, text: str) -> str | None:
        """Return the first character of a text that the encoding does not have."""
        if self._codec is None or self.raw or self.name == "UTF8" or text.isascii():
            return None
        for character in text:
            try:
                codecs.encode(character, self._codec)
            except UnicodeError:
                return character
        return None

    def inward(self, value: Any) -> Any:
        """Return what is declared as texts of the connection: lists and mappings with all texts in them."""
        return _each(value, _as_bytes) if self.raw else value

    def outward(self, value: Any) -> Any:
        """Return what came of the connection as texts for a person; a byte that is no UTF-8 is written as a number."""
        return _each(value, _as_text) if self.raw else value


def _as_bytes(text: str) -> str:
    return text.encode(errors="surrogateescape").decode("latin-1")


def _as_text(text: str) -> str:
    # What is no byte is a word of ours.
    return _BYTES.sub(lambda found: found.group().encode("latin-1").decode(errors="backslashreplace"), text)


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_each(key, change): _each(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(item, change) for item in value)
    return value
