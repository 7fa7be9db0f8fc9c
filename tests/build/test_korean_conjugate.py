"""Conjugation against forms written by hand, every irregular class among them."""

import pytest

from dokja.build.korean.conjugate import FINAL_ENDINGS, IRREGULARS, STYLES, Predicate, conjugate, copula, style_ending

ENDINGS = ("고", "아서", "으면", "으니까", "는", "았다", "는다", "습니다", "을")
# dictionary form, irregular class ("a" marks an adjective), then the forms for ENDINGS.
TABLE = """
가다 - 가고 가서 가면 가니까 가는 갔다 간다 갑니다 갈
오다 - 오고 와서 오면 오니까 오는 왔다 온다 옵니다 올
먹다 - 먹고 먹어서 먹으면 먹으니까 먹는 먹었다 먹는다 먹습니다 먹을
보다 - 보고 봐서 보면 보니까 보는 봤다 본다 봅니다 볼
주다 - 주고 줘서 주면 주니까 주는 줬다 준다 줍니다 줄
마시다 - 마시고 마셔서 마시면 마시니까 마시는 마셨다 마신다 마십니다 마실
피다 - 피고 피어서 피면 피니까 피는 피었다 핀다 핍니다 필
되다 - 되고 돼서 되면 되니까 되는 됐다 된다 됩니다 될
쉬다 - 쉬고 쉬어서 쉬면 쉬니까 쉬는 쉬었다 쉰다 쉽니다 쉴
켜다 - 켜고 켜서 켜면 켜니까 켜는 켰다 켠다 켭니다 켤
보내다 - 보내고 보내서 보내면 보내니까 보내는 보냈다 보낸다 보냅니다 보낼
앉다 - 앉고 앉아서 앉으면 앉으니까 앉는 앉았다 앉는다 앉습니다 앉을
잡다 - 잡고 잡아서 잡으면 잡으니까 잡는 잡았다 잡는다 잡습니다 잡을
웃다 - 웃고 웃어서 웃으면 웃으니까 웃는 웃었다 웃는다 웃습니다 웃을
받다 - 받고 받아서 받으면 받으니까 받는 받았다 받는다 받습니다 받을
놓다 - 놓고 놓아서 놓으면 놓으니까 놓는 놓았다 놓는다 놓습니다 놓을
살다 - 살고 살아서 살면 사니까 사는 살았다 산다 삽니다 살
만들다 - 만들고 만들어서 만들면 만드니까 만드는 만들었다 만든다 만듭니다 만들
쓰다 - 쓰고 써서 쓰면 쓰니까 쓰는 썼다 쓴다 씁니다 쓸
모으다 - 모으고 모아서 모으면 모으니까 모으는 모았다 모은다 모읍니다 모을
담그다 - 담그고 담가서 담그면 담그니까 담그는 담갔다 담근다 담급니다 담글
들르다 - 들르고 들러서 들르면 들르니까 들르는 들렀다 들른다 들릅니다 들를
따르다 - 따르고 따라서 따르면 따르니까 따르는 따랐다 따른다 따릅니다 따를
돕다 ㅂ 돕고 도와서 도우면 도우니까 돕는 도왔다 돕는다 돕습니다 도울
줍다 ㅂ 줍고 주워서 주우면 주우니까 줍는 주웠다 줍는다 줍습니다 주울
굽다 ㅂ 굽고 구워서 구우면 구우니까 굽는 구웠다 굽는다 굽습니다 구울
걷다 ㄷ 걷고 걸어서 걸으면 걸으니까 걷는 걸었다 걷는다 걷습니다 걸을
듣다 ㄷ 듣고 들어서 들으면 들으니까 듣는 들었다 듣는다 듣습니다 들을
깨닫다 ㄷ 깨닫고 깨달아서 깨달으면 깨달으니까 깨닫는 깨달았다 깨닫는다 깨닫습니다 깨달을
싣다 ㄷ 싣고 실어서 실으면 실으니까 싣는 실었다 싣는다 싣습니다 실을
짓다 ㅅ 짓고 지어서 지으면 지으니까 짓는 지었다 짓는다 짓습니다 지을
낫다 ㅅ 낫고 나아서 나으면 나으니까 낫는 나았다 낫는다 낫습니다 나을
붓다 ㅅ 붓고 부어서 부으면 부으니까 붓는 부었다 붓는다 붓습니다 부을
부르다 르 부르고 불러서 부르면 부르니까 부르는 불렀다 부른다 부릅니다 부를
모르다 르 모르고 몰라서 모르면 모르니까 모르는 몰랐다 모른다 모릅니다 모를
흐르다 르 흐르고 흘러서 흐르면 흐르니까 흐르는 흘렀다 흐른다 흐릅니다 흐를
이르다 러 이르고 이르러서 이르면 이르니까 이르는 이르렀다 이른다 이릅니다 이를
푸다 우 푸고 퍼서 푸면 푸니까 푸는 펐다 푼다 풉니다 풀
하다 여 하고 해서 하면 하니까 하는 했다 한다 합니다 할
공부하다 여 공부하고 공부해서 공부하면 공부하니까 공부하는 공부했다 공부한다 공부합니다 공부할
크다 a 크고 커서 크면 크니까 큰 컸다 크다 큽니다 클
좋다 a 좋고 좋아서 좋으면 좋으니까 좋은 좋았다 좋다 좋습니다 좋을
바쁘다 a 바쁘고 바빠서 바쁘면 바쁘니까 바쁜 바빴다 바쁘다 바쁩니다 바쁠
예쁘다 a 예쁘고 예뻐서 예쁘면 예쁘니까 예쁜 예뻤다 예쁘다 예쁩니다 예쁠
길다 a 길고 길어서 길면 기니까 긴 길었다 길다 깁니다 길
얇다 a 얇고 얇아서 얇으면 얇으니까 얇은 얇았다 얇다 얇습니다 얇을
희다 a 희고 희어서 희면 희니까 흰 희었다 희다 흽니다 흴
덥다 ㅂa 덥고 더워서 더우면 더우니까 더운 더웠다 덥다 덥습니다 더울
곱다 ㅂa 곱고 고와서 고우면 고우니까 고운 고왔다 곱다 곱습니다 고울
아름답다 ㅂa 아름답고 아름다워서 아름다우면 아름다우니까 아름다운 아름다웠다 아름답다 아름답습니다 아름다울
빨갛다 ㅎa 빨갛고 빨개서 빨가면 빨가니까 빨간 빨갰다 빨갛다 빨갛습니다 빨갈
하얗다 ㅎa 하얗고 하얘서 하야면 하야니까 하얀 하얬다 하얗다 하얗습니다 하얄
누렇다 ㅎa 누렇고 누레서 누러면 누러니까 누런 누렜다 누렇다 누렇습니다 누럴
그렇다 ㅎa 그렇고 그래서 그러면 그러니까 그런 그랬다 그렇다 그렇습니다 그럴
다르다 르a 다르고 달라서 다르면 다르니까 다른 달랐다 다르다 다릅니다 다를
푸르다 러a 푸르고 푸르러서 푸르면 푸르니까 푸른 푸르렀다 푸르다 푸릅니다 푸를
조용하다 여a 조용하고 조용해서 조용하면 조용하니까 조용한 조용했다 조용하다 조용합니다 조용할
있다 a 있고 있어서 있으면 있으니까 있는 있었다 있다 있습니다 있을
없다 a 없고 없어서 없으면 없으니까 없는 없었다 없다 없습니다 없을
"""
FORMS = [
    (cells[0], cells[1], ending, form)
    for cells in (line.split() for line in TABLE.strip().splitlines())
    for ending, form in zip(ENDINGS, cells[2:], strict=True)
]
OTHERS = [
    ("먹다", "", "다가", "먹다가"), ("걷다", "ㄷ", "으려고", "걸으려고"), ("살다", "", "으려고", "살려고"),
    ("돕다", "ㅂ", "으려고", "도우려고"), ("열다", "", "으세요", "여세요"), ("읽다", "", "으세요", "읽으세요"),
    ("놀다", "", "네", "노네"), ("가다", "", "지만", "가지만"), ("먹다", "", "은", "먹은"),
    ("만들다", "", "은", "만든"),
    ("걷다", "ㄷ", "은", "걸은"), ("짓다", "ㅅ", "은", "지은"), ("굽다", "ㅂ", "은", "구운"),
    ("부르다", "르", "아요", "불러요"),
    ("쓰다", "", "아요", "써요"), ("만들다", "", "음", "만듦"), ("가다", "", "음", "감"), ("먹다", "", "음", "먹음"),
    ("놀다", "", "을 것이다", "놀 것이다"), ("듣다", "ㄷ", "을 거예요", "들을 거예요"),
    ("살다", "", "읍시다", "삽시다"),
    ("앉다", "", "읍시다", "앉읍시다"), ("말씀하시다", "", "아요", "말씀하세요"), ("마시다", "", "아요", "마셔요"),
    ("꽃이 피다", "", "았다", "꽃이 피었다"), ("알다", "", "는데", "아는데"),
]  # fmt: skip
OTHER_ADJECTIVES = [
    ("예쁘다", "", "는데", "예쁜데"), ("맛있다", "", "는데", "맛있는데"), ("덥다", "ㅂ", "는데", "더운데"),
    ("아니다", "", "아요", "아니에요"), ("아니다", "", "습니다", "아닙니다"), ("아니다", "", "았다", "아니었다"),
    ("가깝다", "ㅂ", "아요", "가까워요"), ("하얗다", "ㅎ", "아요", "하얘요"),
]  # fmt: skip


def test_the_table_is_large_and_covers_every_class():
    assert len(FORMS) >= 500
    assert {mark.rstrip("a") or "" for _, mark, _, _ in FORMS} - {"-"} | {""} == set(IRREGULARS)


@pytest.mark.parametrize(("word", "mark"), sorted({(word, mark) for word, mark, _, _ in FORMS}))
def test_written_forms(word, mark):
    predicate = Predicate(word, mark.endswith("a"), mark.rstrip("a").replace("-", ""))
    expected = {ending: form for w, m, ending, form in FORMS if (w, m) == (word, mark)}
    assert {ending: conjugate(predicate, ending) for ending in expected} == expected


def test_other_forms():
    for adjective, table in ((False, OTHERS), (True, OTHER_ADJECTIVES)):
        for word, irregular, ending, form in table:
            assert conjugate(Predicate(word, adjective, irregular), ending) == form


def test_copula():
    book = {"는다": "책이다", "아요": "책이에요", "습니다": "책입니다", "아": "책이야", "았다": "책이었다"}
    tree = {"아요": "나무예요", "습니다": "나무입니다", "아": "나무야", "았다": "나무였다", "면": "나무면"}
    assert {ending: copula("책", ending) for ending in book} == book
    assert {ending: copula("나무", ending) for ending in tree} == tree
    assert copula("'봄'", "아요") == "'봄'이에요"


def test_registers():
    walk = Predicate("걷다", irregular="ㄷ")
    said = {style: [conjugate(walk, style_ending(code, style)) for code in "NPF"] for style in STYLES}
    assert said == {
        "plain": ["걷는다", "걸었다", "걸을 것이다"],
        "polite": ["걸어요", "걸었어요", "걸을 거예요"],
        "formal": ["걷습니다", "걸었습니다", "걸을 것입니다"],
        "casual": ["걸어", "걸었어", "걸을 거야"],
    }
    assert set(FINAL_ENDINGS) == set(STYLES)


def test_errors():
    with pytest.raises(ValueError, match="dictionary form"):
        Predicate("먹")
    with pytest.raises(ValueError, match="ending"):
        conjugate(Predicate("먹다"), "")
