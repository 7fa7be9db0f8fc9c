"""Personal data that belongs to nobody: numbers drawn at random with valid checksums, in many spellings and sentences.

A case is (text, secret, kind): the secret stands in the text and must not stand in what redact makes of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SURNAMES = "김이박최정강조윤장임한오서신권황안송류홍"
GIVEN = ("민준", "서연", "도윤", "하은", "지호", "수아", "현우", "지민", "예린", "태양", "보람", "다솜")
FULL_WIDTH = str.maketrans("0123456789-", "０１２３４５６７８９－")


class Case(NamedTuple):
    text: str
    secret: str
    kind: str


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def registration(rng: random.Random, *, foreigner: bool = False, recent: bool = False) -> str:
    """13 digits: with the checksum for numbers given before October 2020, random in the end for recent ones."""
    if recent:
        body = f"{rng.randint(21, 24):02d}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{rng.choice('34')}"
        return body + digits(rng, 6)
    century = rng.choice("12" if not foreigner else "56")
    body = f"{rng.randint(40, 99):02d}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{century}{digits(rng, 5)}"
    total = sum(weight * int(digit) for weight, digit in zip((2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), body, strict=True))
    return body + str(((13 if foreigner else 11) - total % 11) % 10)


def card(rng: random.Random) -> str:
    body = rng.choice(("4", "51", "53", "55", "94", "62", "65", "35")) + digits(rng, 15)
    body = body[:15]
    total = sum((int(d) * 2 - 9 * (int(d) > 4)) if i % 2 == 0 else int(d) for i, d in enumerate(body))
    return body + str(-total % 10)


def mobile_spellings(rng: random.Random) -> Iterator[str]:
    for _ in range(2):
        a, b = digits(rng, 4), digits(rng, 4)
        yield from (
            f"010-{a}-{b}",
            f"010 {a} {b}",
            f"010.{a}.{b}",
            f"010{a}{b}",
            f"010)-{a}-{b}".replace(")-", ")"),
            f"(010) {a}-{b}",
            f"+82-10-{a}-{b}",
            f"+82 10 {a} {b}",
            f"+8210{a}{b}",
            f"82-10-{a}-{b}",
            f"+82 (0)10-{a}-{b}",
            f"010 - {a} - {b}",
            f"010–{a}–{b}",
            f"010~{a}~{b}",
            f"010/{a}/{b}",
            f"010-{a}-{b}".translate(FULL_WIDTH),
            f"010{a}{b}".translate(FULL_WIDTH),
            f"010ㅡ{a}ㅡ{b}",
            f"0082-10-{a}-{b}",
            f"010·{a}·{b}",
            f"010:{a}:{b}",
        )
    for prefix in ("011", "016", "017", "018", "019"):
        yield f"{prefix}-{digits(rng, 3)}-{digits(rng, 4)}"
    apart = [" ".join(part) for part in ("010", digits(rng, 4), digits(rng, 4))]
    yield from (" - ".join(apart), " ".join(apart))
    spoken = dict(zip("0123456789", "공일이삼사오육칠팔구", strict=True))
    for _ in range(2):
        yield "-".join("".join(spoken[d] for d in part) for part in ("010", digits(rng, 4), digits(rng, 4)))
    yield "".join(spoken[d] for d in "010" + digits(rng, 8))


def landline_spellings(rng: random.Random) -> Iterator[str]:
    for area in (
        "02",
        "031",
        "032",
        "033",
        "041",
        "042",
        "043",
        "044",
        "051",
        "052",
        "053",
        "054",
        "055",
        "061",
        "062",
        "063",
        "064",
        "070",
        "0505",
    ):
        middle, last = digits(rng, rng.choice((3, 4))), digits(rng, 4)
        yield rng.choice(
            (
                f"{area}-{middle}-{last}",
                f"{area}){middle}-{last}",
                f"({area}){middle}-{last}",
                f"({area}) {middle}-{last}",
                f"{area}.{middle}.{last}",
                f"{area} {middle} {last}",
            )
        )
    yield f"+82-2-{digits(rng, 4)}-{digits(rng, 4)}"
    yield f"+82 31 {digits(rng, 3)} {digits(rng, 4)}"
    yield f"02{digits(rng, 8)}"


def phones(rng: random.Random) -> Iterator[Case]:
    frames = (
        "연락처는 {}입니다.",
        "전화 {} 으로 문의 바랍니다",
        "{name}({})에게 연락하세요.",
        "휴대폰: {}",
        "제 번호 {}예요~",
        "H.P {} / 담당 {name}",
        "TEL. {}",
        "☎ {}",
        "{name} 씨 전화번호가 {}로 바뀌었다.",
    )
    for index, spelling in enumerate((*mobile_spellings(rng), *landline_spellings(rng))):
        yield Case(
            frames[index % len(frames)].replace("{}", spelling).replace("{name}", name(rng)), spelling, "전화번호"
        )
    for spelling in (
        f"010-{digits(rng, 4)}-{digits(rng, 4)}",
        f"010{digits(rng, 8)}",
        f"02-{digits(rng, 4)}-{digits(rng, 4)}",
    ):
        yield Case(f"어제 만난 {name(rng)}이 {spelling}라고 적어 주었다.", spelling, "전화번호")


def name(rng: random.Random) -> str:
    return rng.choice(SURNAMES) + rng.choice(GIVEN)


def registrations(rng: random.Random) -> Iterator[Case]:
    frames = (
        "주민등록번호 {}",
        "주민번호: {}",
        "{name} ({})",
        "성명 {name}, {} 거주지 미상",
        "생년월일 및 등록번호는 {} 이다.",
        "피고인 {name}({}), 무직",
        "주민등록번호가 {}인 {name}은 신청인이다.",
    )
    index = 0
    for kind, options in (
        ("주민등록번호", {}),
        ("주민등록번호", {"recent": True}),
        ("외국인등록번호", {"foreigner": True}),
    ):
        for _ in range(9):
            number = registration(rng, **options)
            front, back = number[:6], number[6:]
            spelling = (
                f"{front}-{back}",
                f"{front} - {back}",
                f"{front}–{back}",
                f"{front}-{back}".translate(FULL_WIDTH),
                f"{front}-{back[0]}******",
                f"{front}ㅡ{back}",
                f"{front}- {back}",
                f"{front}−{back}",
                f"{front}-{back[:2]}*****",
            )[_ % 9]
            yield Case(frames[index % len(frames)].replace("{}", spelling).replace("{name}", name(rng)), spelling, kind)
            index += 1
    for said in ("주민등록번호 {}", "주민번호는 {}입니다", "실명번호({})", "주민등록번호: {}."):
        for number in (registration(rng), registration(rng, recent=True)):
            yield Case(said.replace("{}", number), number, "주민등록번호")
            spaced = f"{number[:6]} {number[6:]}"
            yield Case(said.replace("{}", spaced), spaced, "주민등록번호")
    for _ in range(4):
        number = registration(rng)
        yield Case(f"명단에는 {name(rng)} {number} 이라고만 적혀 있었다.", number, "주민등록번호")


def accounts(rng: random.Random) -> Iterator[Case]:
    banks = (
        ("국민은행", (6, 2, 6)),
        ("신한은행", (3, 3, 6)),
        ("우리은행", (4, 3, 6)),
        ("하나은행", (3, 6, 5)),
        ("농협", (3, 4, 4, 2)),
        ("기업은행", (3, 6, 2, 3)),
        ("카카오뱅크", (4, 2, 7)),
        ("토스뱅크", (4, 4, 4)),
        ("케이뱅크", (3, 3, 6)),
        ("새마을금고", (4, 2, 6, 1)),
        ("우체국", (6, 2, 6)),
        ("SC제일은행", (3, 2, 6)),
        ("수협은행", (3, 2, 6)),
        ("신협", (3, 3, 6)),
        ("부산은행", (3, 4, 4, 2)),
    )
    frames = (
        "{bank} {} 예금주 {name}",
        "입금 계좌: {bank} {}",
        "{bank} 계좌번호 {}로 보내 주세요.",
        "회비는 {}({bank} {name})로 이체",
        "후원 계좌 {bank} {}",
        "{name} {bank} {}",
    )
    for index, (bank, groups) in enumerate(banks * 2):
        parts = [digits(rng, size) for size in groups]
        number = ("-".join(parts), "".join(parts), " ".join(parts), "-".join(parts))[index % 4]
        frame = frames[index % len(frames)]
        yield Case(frame.replace("{bank}", bank).replace("{}", number).replace("{name}", name(rng)), number, "계좌번호")
    for short in ("국민", "신한", "우리", "하나", "기업"):
        number = f"{digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 6)}"
        yield Case(f"{short} {number} {name(rng)}", number, "계좌번호")


def emails(rng: random.Random) -> Iterator[Case]:
    hosts = (
        "naver.com",
        "gmail.com",
        "hanmail.net",
        "daum.net",
        "kakao.com",
        "snu.ac.kr",
        "korea.kr",
        "mail.go.kr",
        "nate.com",
    )
    users = ("minjun", "seo.yeon", "do_yun92", "haeun-1", "jiho+news", "soo.a.kim", "h1004", "test99", "kim")
    frames = ("메일은 {}로 주세요.", "{} (담당 {name})", "E-mail: {}", "문의: {}", "{name}<{}>")
    for index, host in enumerate(hosts * 3):
        address = f"{users[index % len(users)]}{rng.randint(1, 99)}@{host}"
        address = (
            address,
            address.upper(),
            address.replace("@", " @ "),
            address.replace("@", "(at)"),
            address.replace("@", "[at]"),
            address.replace("@", "＠"),
            address,
        )[index % 7]
        yield Case(frames[index % len(frames)].replace("{}", address).replace("{name}", name(rng)), address, "전자우편")
    for address in ("minsu골뱅이naver닷com", "minsu(골뱅이)naver.com"):
        yield Case(f"{address} 으로 보내 주세요", address, "전자우편")


def addresses(rng: random.Random) -> Iterator[Case]:
    places = (
        "서울특별시 강남구 테헤란로 {n}",
        "서울 종로구 세종대로 {n}",
        "경기도 성남시 분당구 판교역로 {n}",
        "부산광역시 해운대구 센텀중앙로 {n}",
        "대전 유성구 대학로{n}번길 {m}",
        "광주광역시 서구 상무대로 {n}",
        "강원특별자치도 춘천시 중앙로 {n}",
        "제주특별자치도 제주시 첨단로 {n}",
        "전북특별자치도 전주시 완산구 전주천동로 {n}-{m}",
        "충청남도 천안시 동남구 만남로 {n}",
        "경북 포항시 남구 중앙로 {n}",
        "세종특별자치시 도움6로 {n}",
        "수원시 영통구 광교로 {n}",
        "마포구 월드컵북로{n}길 {m}",
        "경기도 양평군 서종면 북한강로 {n}",
        "인천 미추홀구 소성로 {n}",
        "서울특별시 강남구 역삼동 {n}-{m}",
        "경기도 양평군 서종면 문호리 {n}번지",
        "대구광역시 수성구 범어동 {n}",
        "전라남도 해남군 송지면 송호리 산{n}-{m}",
        "부산 부산진구 부전동 {n}-{m}번지",
        "서울 중구 을지로2가 {n}",
        "(06236) 서울특별시 강남구 테헤란로{n}길 {m}",
        "울산광역시 울주군 언양읍 동부리 {n}",
        "서울시 송파구 올림픽로 {n}, 101동 1502호",
        "서울 서초구 서초대로{n}길 {m} (서초동, 푸른아파트) 3동 201호",
        "창원시 의창구 중앙대로 {n}",
        "경상남도 김해시 가야로{n}번길 {m}, 4층",
        "고양시 일산동구 정발산로 {n}",
        "충북 청주시 흥덕구 가로수로 {n}",
    )
    frames = ("주소: {}", "{name}의 집은 {}이다.", "{} 에 삽니다", "배송지는 {}입니다.", "우리는 {}에서 만났다.")
    for index, place in enumerate(places):
        address = place.replace("{n}", str(rng.randint(1, 399))).replace("{m}", str(rng.randint(1, 30)))
        yield Case(frames[index % len(frames)].replace("{}", address).replace("{name}", name(rng)), address, "주소")
    for road in ("백제고분로 {n}", "동호로20길 {n}", "문호리 {n}-2"):
        address = road.replace("{n}", str(rng.randint(1, 300)))
        yield Case(f"주소는 {address}입니다.", address, "주소")


def others(rng: random.Random) -> Iterator[Case]:
    for index in range(10):
        letter = "MSRODG"[index % 6]
        number = letter + (digits(rng, 8) if index % 2 else f"{digits(rng, 3)}{rng.choice('ABCK')}{digits(rng, 4)}")
        yield Case(
            ("여권번호 {}", "여권 번호는 {}이고", "Passport No. {}", "{} (여권)")[index % 4].replace("{}", number),
            number,
            "여권번호",
        )
    for index in range(10):
        number = f"{rng.randint(11, 26)}-{digits(rng, 2)}-{digits(rng, 6)}-{digits(rng, 2)}"
        number = (number, number.replace("-", ""), number.replace("-", " - "), "서울 " + number[3:], number)[index % 5]
        yield Case(
            ("운전면허번호 {}", "면허번호: {}", "운전면허 {} 소지")[index % 3].replace("{}", number),
            number,
            "운전면허번호",
        )
    for index in range(16):
        number = card(rng)
        parts = [number[at : at + 4] for at in range(0, 16, 4)]
        spelling = ("-".join(parts), " ".join(parts), number, ".".join(parts))[index % 4]
        yield Case(
            ("카드번호 {}", "카드 {} 로 결제", "결제 수단: {}", "{} 유효기간 05/29")[index // 4].replace(
                "{}", spelling
            ),
            spelling,
            "카드번호",
        )


def cases(seed: int) -> list[Case]:
    """About 290 cases; the same for the same seed."""
    rng = random.Random(seed)
    return [case for make in (phones, registrations, accounts, emails, addresses, others) for case in make(rng)]


def left_over(case: Case, masked: str) -> bool:
    """Whether anything of the secret is still there: itself, four of its digits in a row, the name before an @."""
    pieces = re.findall(r"[0-9０-９]{4}", case.secret)
    if case.kind == "전자우편":
        pieces.append(re.split(r"[@＠(\[ 골]", case.secret)[0])
    return any(piece in masked for piece in (case.secret, *pieces))


# What looks like personal data and is none: nothing of it may be masked.
HARMLESS = (Path(__file__).parent / "harmless.txt").read_text(encoding="utf-8").splitlines()
