"""Is a piece of SQL one closed piece? Expressions, predicates and queries are the declaration's own SQL text.

They reach the server inside a statement of ours, over a protocol that runs whatever follows a semicolon, so a piece
that closes our parenthesis or ends our statement is refused here, before a connection exists.
"""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"""
      (?P<line>--[^\n\r]*)
    | (?P<block>/\*)
    | (?P<escape>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<string>'(?:[^']|'')*')
    | (?P<identifier>"(?:[^"]|"")*")
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<parameter>\$\d)
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<semicolon>;)
    | (?P<broken>['"])
    """,
    re.VERBOSE | re.DOTALL,
)
# What the server takes for space: others have it in bytes of their letters.
SPACE = " \t\n\r\f\v"
# A string behind an escape string, on another line, is a part of it and has its backslashes.
_CONTINUED = re.compile(r"(?:\s|--[^\n\r]*)*'")
_PAIRS = {")": "(", "]": "["}


def _block_end(text: str, start: int) -> int:
    """Return the position behind a comment that opens at `start` (they nest), or -1."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return -1


def skip(text: str, match: re.Match[str]) -> int:
    """Return where to go on behind a quoted piece or a comment, or -1 where it has no end."""
    if match.lastgroup == "block":
        return _block_end(text, match.start())
    if match["dollar"] is not None:
        end = text.find(match["dollar"], match.end())
        return -1 if end < 0 else end + len(match["dollar"])
    return match.end()


def unfit(text: str) -> str | None:
    """Return why a text cannot reach the server at all, or None where it can."""
    if "\0" in text:
        return "contains a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "is not valid Unicode"
    return None


def flaw(text: str) -> str | None:
    """Return why `text` is not one closed piece of SQL, or None where it is."""
    if why := unfit(text):
        return why
    position = 0
    stack: list[str] = []
    while match := TOKEN.search(text, position):
        if refused := _refused(text, match):
            return refused
        position = skip(text, match)
        if position < 0:
            return "has a comment or a dollar quote that is not closed"
        if match["open"]:
            stack.append(match["open"])
        elif match["close"] and (not stack or stack.pop() != _PAIRS[match["close"]]):
            return "closes a parenthesis that it did not open"
    if stack:
        return "has a parenthesis that is not closed"
    return None if _has_content(text) else "is empty"


def _refused(text: str, match: re.Match[str]) -> str | None:
    """Return why a token cannot be a part of a closed piece."""
    if match["semicolon"]:
        return "contains a semicolon outside quotes"
    if match["broken"]:
        return "has a quote that is not closed"
    if match["parameter"]:
        return "has a parameter such as $1"
    if match["escape"] and _CONTINUED.match(text, match.end()):
        return "has an escape string in several parts"
    return None


def _has_content(text: str) -> bool:
    """Tell whether anything but space and closed comments is there."""
    position = 0
    while match := TOKEN.search(text, position):
        if text[position : match.start()].strip(SPACE) or not (match["line"] or match["block"]):
            return True
        position = skip(text, match)
        if position < 0:
            return True
    return bool(text[position:].strip(SPACE))


def without_end(text: str) -> str:
    """Return a query without the semicolons that may end it, and without the comments behind them."""
    position = 0
    while match := TOKEN.search(text, position):
        if match["semicolon"] and not _has_content(text[match.start() :].replace(";", " ")):
            return text[: match.start()].strip(SPACE)
        position = skip(text, match)
        if position < 0:
            break
    return text.strip(SPACE)


def closed(text: str) -> str:
    """Return the piece so that what follows it cannot fall into a comment at its end."""
    return text + "\n" if "--" in text else text
