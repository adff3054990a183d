"""Tell in which encoding a text was written that is no UTF-8 and does not say.

Charset-normalizer tells scripts apart: Chinese, Japanese, Korean, Cyrillic, Greek, Hebrew and Arabic. Encodings of
Latin letters are too alike for that; there, the one counts in which one language explains the letters beyond ASCII.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

SCRIPTS = (
    *("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp866"),
    *("cp1253", "cp1255", "cp1256", "cp874"),
)
LATIN = ("cp1252", "cp1250", "cp1254", "iso8859_2")

LANGUAGES = (
    ("cp1252", "äöüß"),
    ("cp1252", "àâæçèéêëîïôœùûüÿ"),
    ("cp1252", "áéíñóúü"),
    ("cp1252", "àèéìîòóù"),
    ("cp1252", "àáâãçéêíóôõúü"),
    ("cp1252", "äåöéæø"),
    ("cp1252", "àçèéíïòóúü"),
    ("cp1252", "áæéíðóöúýþ"),
    ("cp1250", "ąćęłńóśźż"),
    ("cp1250", "áčďéěíňóřšťúůýž"),
    ("cp1250", "áäčďéíĺľňóôŕšťúýž"),
    ("cp1250", "áéíóöőúüű"),
    ("cp1250", "ăâîşţ"),
    ("cp1250", "čćđšž"),
    ("cp1254", "çğıöşüâîû"),
    ("iso8859_2", "ąćęłńóśźż"),
    ("iso8859_2", "áčďéěíňóřšťúůýž"),
)
"""Encodings, and the letters of the languages that are written in them: German, French, Spanish, Italian, Portuguese,
Nordic, Catalan, Icelandic; Polish, Czech, Slovak, Hungarian, Romanian, Croatian; Turkish; Polish and Czech again."""

SAMPLE_BYTES = 256 * 1024
"""Of the text, from its first byte beyond ASCII on."""

MIN_EXPLAINED = 0.6
"""Of the characters beyond ASCII, how many must be letters and marks that a text has."""

MAX_BROKEN = 0.02
"""Of the characters beyond ASCII of a text in UTF-8, how many may be broken."""

MARKS = frozenset(
    "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{EN DASH}\N{ACUTE ACCENT}\N{NO-BREAK SPACE}"
    "“”„—…€£°§·«»¿¡©®™•"
)


def encoding_of(content: bytes) -> str:
    """Give the encoding of a text that is no whole UTF-8; empty where it can't be told."""
    first = next((place for place, byte in enumerate(content) if byte > 127), 0)  # noqa: PLR2004 - the end of ASCII
    sample = content[max(0, first - 200) : first + SAMPLE_BYTES]
    if wide := _wide(content[:SAMPLE_BYTES]):
        return wide
    if _is_broken_utf8(sample):
        return "utf-8"
    best = _normalizer_best(sample, (*SCRIPTS, *LATIN))
    if best == "cp932" and _is_half_width(sample):
        best = _normalizer_best(sample, tuple(name for name in (*SCRIPTS, *LATIN) if name != best))
    if best in SCRIPTS:
        return best
    encoding, explained = max(((code, _explained(sample, code, letters)) for code, letters in LANGUAGES), key=_share)
    return encoding if explained >= MIN_EXPLAINED else ""


def _share(found: tuple[str, float]) -> float:
    return found[1]


def _normalizer_best(sample: bytes, among: Sequence[str]) -> str:
    from charset_normalizer import from_bytes  # noqa: PLC0415 - hardly any document needs it

    best = from_bytes(sample, cp_isolation=list(among)).best()
    return best.encoding if best else ""


def _is_half_width(sample: bytes) -> bool:
    """Whether it would be Japanese in half-width letters, which is what Russian looks like in that encoding."""
    found = _beyond(sample, "cp932")
    return sum("\uff61" <= letter <= "\uff9f" for letter in found) * 2 > len(found)


def _wide(sample: bytes) -> str:
    """Give the name of UTF-16 without a byte order mark: every other byte of much text is zero."""
    zeros = sample.count(0)
    if zeros == 0 or zeros * 4 < len(sample):
        return ""
    return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"


def _is_broken_utf8(sample: bytes) -> bool:
    """Whether it is UTF-8 but for a few bytes, as logs have them that were cut."""
    counted = Counter(
        "broken" if letter == "\N{REPLACEMENT CHARACTER}" else "whole" for letter in _beyond(sample, "utf-8")
    )
    return counted["whole"] > 0 and counted["broken"] <= max(1, MAX_BROKEN * counted["whole"]) < counted["whole"]


def _explained(sample: bytes, encoding: str, letters: str) -> float:
    """Give the share of the characters beyond ASCII that a language has, or any text."""
    found = Counter(_beyond(sample, encoding))
    total = sum(found.values())
    known = sum(count for letter, count in found.items() if letter.lower() in letters or letter in MARKS)
    control = sum(count for letter, count in found.items() if unicodedata.category(letter) in {"Cc", "Cn", "Co", "So"})
    return (known - control) / total if total else 1.0


def _beyond(sample: bytes, encoding: str) -> str:
    return "".join(letter for letter in sample.decode(encoding, "replace") if not letter.isascii())
