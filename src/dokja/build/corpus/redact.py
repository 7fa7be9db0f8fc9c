"""Korean personal data in text, replaced by the name of its kind: [주민등록번호], [전화번호], [전자우편], [주소] ...

What has a form of its own is masked by form, and by checksum where it has one; what is only digits is masked where a
word beside it says what it is. Left alone: numbers of companies (사업자등록번호, 법인등록번호, 1588-0000), which are
not personal; IP addresses, whose form is that of a version; names, which no form tells.

Text without a digit or an @ costs one search. Patterns begin at a digit or a sign and are bounded in length, and look
at most 70 characters around them, so that time is linear in the text.

Sources: 주민등록법 시행규칙 제2조 and 출입국관리법 시행규칙 (a checksum; numbers given since October 2020 are random
after the seventh digit), 여권법 시행규칙, 도로교통법 시행규칙, 전기통신번호관리세칙, ISO/IEC 7812 (Luhn),
도로명주소법 (addresses.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date

from .addresses import addresses

RESIDENT, FOREIGNER, PHONE, ACCOUNT = "주민등록번호", "외국인등록번호", "전화번호", "계좌번호"
EMAIL, ADDRESS, PASSPORT, LICENCE, CARD = "전자우편", "주소", "여권번호", "운전면허번호", "카드번호"

Span = tuple[int, int, str]  # start, end, kind

_GATE = re.compile("[0-9０-９@＠]|[공영]일[공영]|골뱅이")
_FULL_WIDTH = re.compile("[０-９Ａ-Ｚａ-ｚ＠－．＋（）\u2010-\u2015−ㅡ]")
_PLAIN = str.maketrans(
    "０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ"
    "ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ＠－．＋（）\u2010\u2011\u2012\u2013\u2014\u2015−ㅡ",
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz@-.+()--------",
)

# Nine digits or more with little between them; the two sets are disjoint, so nothing is tried twice.
_ZONE = re.compile(r"[0-9](?:[ \-.~/·:,()+]{0,3}[0-9*●○•xX]){8,}")
_SEP = r"(?:[ ]?[\-.~/·:)][ ]?|[ ])"
_COUNTRY = rf"(?:\(?(?:\+|00)?82\)?{_SEP}?(?:\(0\){_SEP}?|0)?|\(?0)"
_FREE = r"(?<![0-9])(?<![0-9][\-.])"  # neither within a number nor the later part of one

_REGISTRATION = re.compile(
    r"(?<![0-9])([0-9]{6})([ ]?[\-.~/·:][ ]?|[ ]|)([0-9])([0-9]{6}|[0-9]{0,5}[*●○•xX]{1,6})(?![0-9*●○•])"
)
_PHONE = re.compile(
    rf"{_FREE}{_COUNTRY}(1[016789]|70|80|50[0-9]|2|3[1-3]|4[1-4]|5[1-5]|6[1-4])\)?({_SEP}?)[0-9]{{3,4}}{_SEP}?[0-9]{{4}}"
    r"(?![0-9])(?!-[0-9])"
)
_CARD = re.compile(
    rf"{_FREE}(?:[0-9]{{4}}[ ]?[\-.]?[ ]?){{3}}[0-9]{{3,4}}(?![0-9])(?!-[0-9])"
    r"|(?<![0-9])3[47][0-9]{2}[ \-]?[0-9]{6}[ \-]?[0-9]{5}(?![0-9])"
)
_LICENCE = re.compile(
    r"(?<![0-9])(?<![0-9]-)(?:1[1-9]|2[0-8])([ ]?[\-.]?[ ]?)[0-9]{2}[ ]?[\-.]?[ ]?[0-9]{6}[ ]?[\-.]?[ ]?[0-9]{2}"
    r"(?![0-9])(?!-[0-9])"
)
_REGIONAL_LICENCE = re.compile(
    "(?:서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)[ ]?-?[ ]?"
    "[0-9]{2}[ ]?-[ ]?[0-9]{6}[ ]?-[ ]?[0-9]{2}(?![0-9])"
)
_ACCOUNT = re.compile(
    r"(?<![0-9])(?<![0-9]-)[0-9]{2,6}([ ]?-[ ]?|[ ])[0-9]{1,7}(?:\1[0-9]{1,7}){0,3}(?![0-9])"
    r"|(?<![0-9])[0-9]{10,16}(?![0-9])"
)
_PASSPORT = re.compile(
    r"(?<![A-Za-z0-9])[MSRODG][ \-]?(?:[0-9]{4}[ ]?[0-9]{4}|[0-9]{3}[A-Z][0-9]{4})(?![A-Za-z0-9])", re.IGNORECASE
)
_SPOKEN = re.compile(r"[공영]일[공영](?:[ \-.,]{0,3}[공영일이삼사오육륙칠팔구]){7,8}")
_APART = re.compile(r"0[ ]1[ ][016789](?:[ ]?[\-.]?[ ]?[0-9]){7,8}(?![ ]?[0-9])")  # one digit at a time
_DOMAIN = re.compile(
    r"[ ]?([A-Za-z0-9가-힣](?:[A-Za-z0-9\-가-힣]{0,62})(?:\.[A-Za-z0-9\-]{1,63}){0,4}"
    r"(?:\.|[ ]?(?:\(dot\)|\[dot\]|닷)[ ]?)(?:[A-Za-z]{2,24}|한국)"
    r"(?:(?:\.|[ ]?(?:\(dot\)|닷)[ ]?)[A-Za-z]{2,3})?)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_AT = re.compile(r"@|[\(\[]\s?at\s?[\)\]]|[\(\[]?골뱅이[\)\]]?", re.IGNORECASE)
_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-")

_BEFORE, _AFTER, _LONGEST_LOCAL = 40, 16, 64  # characters
_BANK = re.compile(
    "계좌|통장|은행|뱅크|농협|수협|신협|축협|새마을금고|우체국|저축|입금|송금|이체|예금주|bank|account", re.IGNORECASE
)
# These are common words as well, so the number must follow and must be written in groups.
_BANK_NAME = re.compile(
    "(?:국민|신한|우리|하나|기업|카카오|카뱅|토스|케뱅|씨티|제일|대구|부산|광주|전북|경남|제주|KB|IBK|NH|SC)[ :]{0,3}$"
)
_BANK_AFTER = re.compile("은행|뱅크|농협|수협|신협|새마을|우체국|예금주|계좌|국민|신한|하나|기업|카카오|토스")
_COMPANY = re.compile("법인|사업자|고유번호|ISBN|바코드|상품|품번|모델", re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    "사업자|법인|전화|팩스|연락처|문의|대표번호|등록번호|고유번호|우편번호|승인|주문|송장|접수|관리번호|ISBN|TEL|FAX|카드|면허",
    re.IGNORECASE,
)
_SAYS_RESIDENT = re.compile("주민|(?<!법인)(?<!사업자)등록번호|생년월일|실명|주번|외국인")
_SAYS_LICENCE = re.compile("면허|license|licence", re.IGNORECASE)
_SAYS_PASSPORT = re.compile("여권|passport", re.IGNORECASE)
_SAYS_CARD = re.compile("카드|card|결제", re.IGNORECASE)
_SAYS_PHONE = re.compile(
    "전화|연락|휴대|핸드폰|폰|번호|문의|문자|팩스|자택|직장|TEL|FAX|call|mobile|phone|HP|H\\.P|☎|☏|📞|📱", re.IGNORECASE
)


def redact(text: str) -> tuple[str, dict[str, int]]:
    """The text with personal data masked, and how many there were of each kind that was found."""
    if _GATE.search(text) is None:
        return text, {}
    plain = text
    if not text.isascii() and _FULL_WIDTH.search(text):
        plain = text.translate(_PLAIN)  # one character for one: positions stay
    spans = [span for zone in _ZONE.finditer(plain) for span in _in_zone(plain, zone.start(), zone.end())]
    spans += ((start, end, ADDRESS) for start, end in addresses(plain))
    spans += _emails(plain)
    for told in (_SPOKEN, _APART):
        spans += ((match.start(), match.end(), PHONE) for match in told.finditer(plain))
    if "여권" in plain or "assport" in plain or "ASSPORT" in plain:
        spans += (
            (match.start(), match.end(), PASSPORT)
            for match in _PASSPORT.finditer(plain)
            if _said(_SAYS_PASSPORT, plain, match.start(), match.end())
        )
    if not spans:
        return text, {}
    counts: Counter[str] = Counter()
    parts: list[str] = []
    done = 0
    for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= done:
            parts += (text[done:start], f"[{kind}]")
            counts[kind] += 1
        done = max(done, end)  # of two that overlap the first is named and all of both is masked
    return "".join((*parts, text[done:])), dict(sorted(counts.items()))


def _in_zone(text: str, start: int, end: int) -> Iterator[Span]:
    """Numbers in a stretch of digits; what one rule takes, the next does not see."""
    low = max(0, start - 6)  # a sign, a bracket, the region of an old licence before the first digit
    taken: list[tuple[int, int]] = []

    def free(match: re.Match[str]) -> bool:
        return all(match.end() <= a or match.start() >= b for a, b in taken)

    for kind, pattern, accept in _RULES:
        for match in pattern.finditer(text, low, min(len(text), end + 2)):
            if free(match) and accept(text, match):
                taken.append(match.span())
                begin = match.start() + (match[0][0] == "(" and ")" not in match[0])  # "(010-..." in brackets
                yield begin, match.end(), FOREIGNER if kind == RESIDENT and match[3] in "5678" else kind


def _said(words: re.Pattern[str], text: str, start: int, end: int) -> bool:
    """Whether a word beside [start, end) says what it is."""
    return bool(words.search(text, max(0, start - _BEFORE), start) or words.search(text, end, end + _AFTER))


def _nearest(words: re.Pattern[str], text: str, start: int) -> int:
    """Where the last of the words before `start` begins, -1 when there is none in reach."""
    place = -1
    for match in words.finditer(text, max(0, start - _BEFORE), start):
        place = match.start()
    return place


def _registration(text: str, match: re.Match[str]) -> bool:
    birth, separator, century, rest = match.groups()
    digits = birth + century + rest
    if not valid_birth(birth, century):
        return False
    if _nearest(_COMPANY, text, match.start()) > _nearest(_SAYS_RESIDENT, text, match.start()):
        return False
    if "-" in separator or _said(_SAYS_RESIDENT, text, *match.span()):
        return True
    return digits.isdigit() and valid_registration(digits) and not set(digits) <= {"0", "1"}  # those are binary


def valid_birth(birth: str, century: str) -> bool:
    """Whether YYMMDD is a day, in the century that the seventh digit of a registration number says."""
    years = {"9": 1800, "0": 1800, "1": 1900, "2": 1900, "5": 1900, "6": 1900}.get(century, 2000)
    try:
        date(years + int(birth[:2]), int(birth[2:4]), int(birth[4:]))
    except ValueError:
        return False
    return True


def valid_registration(digits: str) -> bool:
    """Whether the last of 13 digits is the checksum of a resident's, or a foreigner's, registration number."""
    total = sum(
        weight * int(digit) for weight, digit in zip((2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), digits, strict=False)
    )
    shift = 13 if digits[6] in "5678" else 11
    return (shift - total % 11) % 10 == int(digits[12])


def luhn(digits: str) -> bool:
    """Whether a card number's last digit is its checksum."""
    doubled = [int(digit) * (2 - (place % 2 == 0)) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _phone(text: str, match: re.Match[str]) -> bool:
    mobile = match[1][0] == "1"
    separated = bool(match[2]) or not match[0][0].isdigit()
    return mobile or separated or _said(_SAYS_PHONE, text, *match.span())


def _card(text: str, match: re.Match[str]) -> bool:
    digits = "".join(filter(str.isdigit, match[0]))
    if digits[0] not in "2345699":
        return False
    return luhn(digits) or (len(match[0]) > len(digits) and _said(_SAYS_CARD, text, *match.span()))


def _licence(text: str, match: re.Match[str]) -> bool:
    return "-" in match[1] or _said(_SAYS_LICENCE, text, *match.span())


def _account(text: str, match: re.Match[str]) -> bool:
    if not 10 <= sum(map(str.isdigit, match[0])) <= 16:
        return False
    if "-" in match[0] and _BANK_NAME.search(text[max(0, match.start() - 8) : match.start()]):
        return True
    bank, other = (_nearest(words, text, match.start()) for words in (_BANK, _OTHER_NUMBER))
    if bank < 0 and other < 0:
        return _BANK_AFTER.search(text, match.end(), match.end() + _AFTER) is not None
    return bank > other


_RULES = (
    (RESIDENT, _REGISTRATION, _registration),
    (ACCOUNT, _ACCOUNT, _account),
    (PHONE, _PHONE, _phone),
    (CARD, _CARD, _card),
    (LICENCE, _REGIONAL_LICENCE, lambda text, match: True),
    (LICENCE, _LICENCE, _licence),
)


def _emails(text: str) -> Iterator[Span]:
    if not any(sign in text for sign in ("@", "골뱅이", "at)", "AT)", "at]", "AT]")):
        return
    done = 0
    for sign in _AT.finditer(text):
        domain = _DOMAIN.match(text, sign.end())
        if domain is None:
            continue
        end = sign.start()
        spaced = text[end - 1 : end] == " "
        if spaced != (text[sign.end() : sign.end() + 1] == " "):  # "csc @options.rsp"
            continue
        start = end = end - spaced
        while start > done and end - start < _LONGEST_LOCAL and text[start - 1] in _LOCAL:
            start -= 1
        while start < end and text[start] in "._%+-":  # a dash or a dot before an address is the sentence's
            start += 1
        if start < end:
            done = domain.end()
            yield start, done, EMAIL
