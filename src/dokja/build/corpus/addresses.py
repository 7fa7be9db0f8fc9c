"""Korean street addresses: by road name (도로명, 도로명주소법) and by lot number (지번).

An address is a number after the name of a road (…로, …길) or of a 동, 리, 가, with a province, city, county or district
before it, or a word such as 주소. Without those, "앞으로 3" and "제어로 2" would be addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PROVINCES = (
    "서울특별시|서울시|서울|부산광역시|부산시|부산|대구광역시|대구시|대구|인천광역시|인천시|인천|광주광역시|광주시|광주|"
    "대전광역시|대전시|대전|울산광역시|울산시|울산|세종특별자치시|세종시|세종|경기도|경기|강원특별자치도|강원도|강원|"
    "충청북도|충북|충청남도|충남|전북특별자치도|전라북도|전북|전라남도|전남|경상북도|경북|경상남도|경남|"
    "제주특별자치도|제주도|제주"
)
# Districts, cities and counties by the stem before 구, 시, 군.
_GU = (
    "종로|중|용산|성동|광진|동대문|중랑|성북|강북|도봉|노원|은평|서대문|마포|양천|강서|구로|금천|영등포|동작|관악|서초|강남|송파|강동|"
    "서|동|영도|부산진|동래|남|북|해운대|사하|금정|연제|수영|사상|수성|달서|미추홀|연수|남동|부평|계양|광산|유성|대덕|"
    "장안|권선|팔달|영통|수정|중원|분당|만안|동안|원미|소사|오정|상록|단원|일산동|일산서|덕양|처인|기흥|수지|상당|서원|흥덕|청원|"
    "동남|서북|완산|덕진|의창|성산|마산합포|마산회원|진해"
)
_SI = (
    "수원|성남|의정부|안양|부천|광명|평택|동두천|안산|고양|과천|구리|남양주|오산|시흥|군포|의왕|하남|용인|파주|이천|안성|김포|화성|광주|"
    "양주|포천|여주|춘천|원주|강릉|동해|태백|속초|삼척|청주|충주|제천|천안|공주|보령|아산|서산|논산|계룡|당진|전주|군산|익산|정읍|남원|"
    "김제|목포|여수|순천|나주|광양|포항|경주|김천|안동|구미|영주|영천|상주|문경|경산|창원|진주|통영|사천|김해|밀양|거제|양산|서귀포|제주"
)
_GUN = (
    "기장|달성|군위|강화|옹진|울주|연천|가평|양평|홍천|횡성|영월|평창|정선|철원|화천|양구|인제|고성|양양|보은|옥천|영동|증평|진천|괴산|"
    "음성|단양|금산|부여|서천|청양|홍성|예산|태안|완주|진안|무주|장수|임실|순창|고창|부안|담양|곡성|구례|고흥|보성|화순|장흥|강진|해남|"
    "영암|무안|함평|영광|장성|완도|진도|신안|의성|청송|영양|영덕|청도|고령|성주|칠곡|예천|봉화|울진|울릉|의령|함안|창녕|남해|하동|산청|"
    "함양|거창|합천"
)
_REGION = rf"(?:(?:{_PROVINCES})[ ,]?[ ]?|(?:{_SI})시[ ]?|(?:{_GUN})군[ ]?|(?:{_GU})구[ ]?)"
_TOWN = "(?:[가-힣0-9]{1,6}(?:[읍면동리]|[0-9]가)[ ]?)"

# A number after a road or a quarter. Most places that end in these syllables have no number after them.
_NUMBER = re.compile(
    r"[로길동리가][ ]?(?:지하[ ]?|산[ ]?)?[0-9]{1,4}(?:[ ]?-[ ]?[0-9]{1,4})?(?![0-9.,]*[0-9])(?![ㆍ·0-9]*가)"
)
_BEFORE_ROAD = re.compile(
    rf"(?<![가-힣])(?:\(?[0-9]{{5}}\)?[ ]?)?{_REGION}{{1,4}}{_TOWN}{{0,2}}[가-힣0-9·]{{1,12}}[로길][ ]?$"
)
_BEFORE_LOT = re.compile(rf"(?<![가-힣])(?:\(?[0-9]{{5}}\)?[ ]?)?{_REGION}{{1,4}}{_TOWN}{{1,3}}$")
_SAID = re.compile(
    r"(?<![가-힣])(?:주소|주소지|거주지|배송지|본적|자택|사는 곳|살던 곳|수령지|받는 곳)[는은가을이]?[ ]?[:：=]?[ ]?"
    r"([가-힣0-9· ]{0,24}[가-힣0-9·]{1,10}[로길동리가][ ]?)$"
)
_FLAT = (
    r"(?:,?[ ]?(?:[0-9]{1,4}|[A-Za-z가나다라])동)?(?:,?[ ]?(?:지하[ ]?)?[0-9]{1,3}층)?"
    r"(?:,?[ ]?(?:B|지하)?[0-9]{1,4}호)?"
)
_REST = re.compile(
    r"(?:(?:번가길|번길|가길|길)[ ]?[0-9]{1,4}(?:-[0-9]{1,4})?)?(?:번지)?(?:[ ]?[0-9]{1,3}호(?![가-힣]))?"
    r"(?:,?[ ]?[가-힣A-Za-z0-9]{1,14}(?:아파트|빌라|오피스텔|타워|빌딩|맨션|주택|하이츠|파크|캐슬|자이|푸르지오))?"
    rf"{_FLAT}(?:[ ]?\([가-힣0-9][가-힣0-9, ·]{{1,30}}\){_FLAT})?"
)
_COUNTED = re.compile(
    "[ ]?(?:호선|개|명|인|건|곳|대|등|으로|비트|년|월|일|번째|차례|차|회|배|원|퍼센트|%|시간|분|초|km|m|kg|도|단계|"
    "장|절|항|조|편|권)"
)
# Nearly all numbers after such a syllable are ruled out by this alone.
_HINT = re.compile(f"[시군구]|주소|거주|배송|본적|자택|사는|살던|수령|받는|{_PROVINCES}")
_REACH = 70  # characters before the number


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where addresses stand: [start, end) of each, from its province or postal code to its flat, in order."""
    done = 0
    for match in _NUMBER.finditer(text):
        if match.start() < done:
            continue
        name = match.start() + 1  # behind the last syllable of the name
        low = max(done, name - _REACH)
        left = text[low:name]
        left = left[left.rfind("\n") + 1 :]
        if _HINT.search(left) is None:
            continue
        road = text[match.start()] in "로길"
        found = (_BEFORE_ROAD if road else _BEFORE_LOT).search(left)
        start = found.start() if found else -1
        if found is None and (said := _SAID.search(left)):
            start = said.start(1)
        if start < 0:
            continue
        end = match.end()
        rest = _REST.match(text, end)
        if rest is not None and rest.end() > end:
            end = rest.end()
        elif _COUNTED.match(text, end):
            continue
        done = end
        yield name - len(left) + start, done
