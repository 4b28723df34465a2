"""XML that files have in UTF-16, changed as that in UTF-8 is."""

from __future__ import annotations

from collections.abc import Callable

_BEGINNINGS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
"""With a mark of their byte order, or without."""


def changed(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """XML, changed by what knows UTF-8, in the encoding that it has; bytes behind its last whole letter stay."""
    encoding = _BEGINNINGS.get(content[:2])
    if encoding is None:
        return change(content)
    end = len(content) // 2 * 2
    text = content[:end].decode(encoding, "surrogatepass").encode(errors="surrogatepass")
    made = change(text)
    if made == text:
        return content
    return made.decode(errors="surrogatepass").encode(encoding, "surrogatepass") + content[end:]
