"""The words of which the exercises are made: nouns, people's names, and how letters and units end when read aloud."""

from __future__ import annotations

from dokja.build.hangul import final_of, particle

_THINGS = """
책 공책 연필 지우개 가방 필통 자 가위 풀 종이 색종이 크레파스 물감 붓 도화지 칠판 분필 책상 의자 시계 달력 거울
빗 비누 수건 칫솔 치약 컵 접시 숟가락 젓가락 칼 도마 냄비 주전자 그릇 쟁반 병 뚜껑 냉장고 세탁기 청소기 선풍기
난로 텔레비전 라디오 전화기 컴퓨터 자판 마우스 사진기 안경 모자 장갑 목도리 양말 신발 구두 운동화 옷 바지 치마
저고리 한복 외투 단추 우산 지갑 동전 열쇠 자물쇠 망치 못 톱 삽 호미 낫 밧줄 실 바늘 골무 베개 이불 방석 침대
옷장 서랍 창문 커튼 문 벽 지붕 기둥 계단 사다리 등불 촛불 성냥 양초 꽃병 화분 액자 그림 인형 공 팽이 연 그네
미끄럼틀 자전거 자동차 버스 기차 배 비행기 트럭 택시 수레 썰매 돛 닻 노 북 장구 피리 나팔 기타 피아노 바이올린
종 깃발 편지 봉투 우표 상자 바구니 항아리 독 물통 빗자루 쓰레받기 걸레 휴지 구슬 딱지 윷 바둑판 카드 잡지 신문
사전 지도 지구본 돋보기 현미경 망원경 저울 자석 건전지 전구 전선 나사 바퀴 수첩 볼펜 만년필 물병 텐트 등대 돌
모래 흙 바위 물 얼음 눈사람 구름 달 별 해 무지개
"""
_FOODS = """
밥 국 김치 떡 빵 죽 국수 라면 만두 김밥 비빔밥 불고기 갈비 두부 콩 팥 쌀 보리 밀 옥수수 감자 고구마 무 배추 당근
오이 호박 가지 고추 마늘 양파 파 상추 시금치 콩나물 버섯 사과 감 귤 포도 딸기 수박 참외 복숭아 자두 살구 앵두
대추 밤 호두 잣 바나나 레몬 토마토 파인애플 우유 치즈 달걀 꿀 설탕 소금 간장 된장 고추장 식초 기름 과자 사탕
초콜릿 케이크 아이스크림 주스 커피 차 식혜 수정과 미역 멸치 오징어 새우 게 조개 굴 낙지
"""
_ANIMALS = """
개 고양이 소 말 돼지 양 염소 닭 오리 거위 토끼 쥐 다람쥐 호랑이 사자 곰 여우 늑대 사슴 노루 기린 코끼리 원숭이
하마 낙타 고래 상어 물개 펭귄 거북 뱀 개구리 두꺼비 도마뱀 악어 참새 까치 까마귀 비둘기 제비 기러기 두루미
독수리 부엉이 앵무새 공작 나비 벌 개미 매미 잠자리 메뚜기 귀뚜라미 거미 모기 파리 달팽이 지렁이 붕어 잉어 연어
참치 고등어 갈치 문어 햄스터
"""
_PLANTS = """
나무 소나무 은행나무 단풍나무 대나무 풀밭 꽃 장미 백합 국화 무궁화 진달래 개나리 튤립 해바라기 민들레 코스모스
연꽃 나팔꽃 잔디 씨앗 잎 줄기 뿌리 가랑잎 도토리 솔방울
"""
_PLACES = """
집 학교 교실 운동장 도서관 병원 약국 은행 우체국 경찰서 소방서 시장 가게 빵집 식당 꽃집 서점 극장 박물관 미술관
공원 놀이터 동물원 식물원 수영장 체육관 공항 역 정류장 터널 다리 길 골목 마을 시골 도시 바다 강 호수 연못 산 숲
들 언덕 섬 사막 폭포 동굴 논 밭 과수원 목장 농장 공장 회사 사무실 교회 절 궁궐 탑 호텔 거실 부엌 화장실 마당
옥상 지하실 다락방 서울 부산 대구 인천 광주 대전 울산 제주 춘천 전주 경주 강릉 여수 목포
"""
_PEOPLE = """
선생님 학생 친구 의사 간호사 경찰관 소방관 요리사 가수 배우 화가 작가 시인 농부 어부 목수 군인 기자 판사 운전사
조종사 과학자 약사 사서 상인 우체부 이발사 미용사 무용수 사진사 손님 주인 이웃 아기 아이 소년 소녀 어른 왕 왕비
왕자 공주 장군 신하 선비
"""

PLACES: tuple[str, ...] = tuple(_PLACES.split())
NOUNS: tuple[str, ...] = tuple(dict.fromkeys(" ".join((_THINGS, _FOODS, _ANIMALS, _PLANTS, _PLACES, _PEOPLE)).split()))
NOUNS_WITH_FINAL: tuple[str, ...] = tuple(noun for noun in NOUNS if final_of(noun))
NOUNS_WITHOUT_FINAL: tuple[str, ...] = tuple(noun for noun in NOUNS if not final_of(noun))

_MEN = """
민수 철수 영호 준호 동훈 성민 지훈 현우 민준 도윤 재석 태호 상철 기영 병수 광수 용준 진호 승우 건우 우진 영철
정훈 동수 세훈 인호 경수 종민 대현 창민 한결 시우 준서 규현 태민 석진 원빈 재민 명호 길동
"""
_WOMEN = """
지영 순자 영희 미선 은주 수진 혜진 민지 서연 지우 하은 예린 유나 소영 경희 미영 정숙 영숙 선희 보람 다은 나연
채원 가영 현정 은혜 수빈 주희 아름 슬기 세영 윤아 혜원 연주 명숙 옥순 말순 미나 소라 진주
"""
MEN: tuple[str, ...] = tuple(_MEN.split())
WOMEN: tuple[str, ...] = tuple(_WOMEN.split())
NAMES: tuple[str, ...] = MEN + WOMEN

SURNAMES = "김이박최정강조윤장임한오서신권황안송홍전"
_GIVEN_FIRST = "민지서하도예수준현유은태재승시주채정영성동규가나다소보혜미선경진상우윤건한해세희"
_GIVEN_CLOSED = "준윤현민훈원연은진빈린율솔석혁영성환람별찬운범건결설선란숙철열일"
_GIVEN_OPEN = "수우호아서하지희주미나라리비도규래재기오채예이혜유해후"
GIVEN_WITH_FINAL: tuple[str, ...] = tuple(a + b for a in _GIVEN_FIRST for b in _GIVEN_CLOSED if a != b)
GIVEN_WITHOUT_FINAL: tuple[str, ...] = tuple(a + b for a in _GIVEN_FIRST for b in _GIVEN_OPEN if a != b)

# The names of the Latin letters as Koreans say them; r is 알, so "r이".
_LATIN = """
에이 비 시 디 이 에프 지 에이치 아이 제이 케이 엘 엠 엔 오 피 큐 알 에스 티 유 브이 더블유 엑스 와이 제트
"""
LATIN_NAMES: dict[str, str] = dict(zip("abcdefghijklmnopqrstuvwxyz", _LATIN.split(), strict=True))
# Unit symbols as they are read aloud.
UNIT_NAMES: dict[str, str] = {
    "km": "킬로미터",
    "m": "미터",
    "cm": "센티미터",
    "mm": "밀리미터",
    "kg": "킬로그램",
    "g": "그램",
    "t": "톤",
    "L": "리터",
    "mL": "밀리리터",
}


def letter_particle(letter: str, pair: str) -> str:
    """The particle after a lone letter by its name: r이 (알), ㄴ은 (니은; all consonants are closed), ㅏ는."""
    if letter in LATIN_NAMES:
        return particle(LATIN_NAMES[letter], pair)
    if letter == "ㄹ":
        return particle("리을", pair)
    return particle("니은" if "ㄱ" <= letter <= "ㅎ" else "아", pair)


def unit_particle(unit: str, pair: str) -> str:
    """The particle after a quantity in a unit: 3m는, 3kg은, 3시간은."""
    return particle(UNIT_NAMES.get(unit, unit), pair)
