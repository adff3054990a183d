"""Texts in old encodings: read as they were written, or refused with the remedy."""

import pytest

from assistant_runtime.errors import ApiError
from assistant_runtime.rag import extract
from assistant_runtime.rag.charsets import encoding_of
from assistant_runtime.rag.extraction import Extraction

CHINESE = "员工每年享有十二周的带薪假期。申请须在假期开始前至少两周提交给直属主管，并由人力资源部批准。"
TRADITIONAL = "員工每年享有十二週的帶薪假期。申請須在假期開始前至少兩週提交給直屬主管，並由人力資源部批准。"
JAPANESE = "従業員は年間十二週間の有給休暇を取得できます。休暇の申請は開始日の二週間前までに提出してください。"
KOREAN = "직원은 연간 12주의 유급 휴가를 사용할 수 있습니다. 휴가 신청은 시작일 2주 전까지 제출해야 합니다."
RUSSIAN = "Сотрудники имеют право на двенадцать недель оплачиваемого отпуска в год. Заявление подаётся руководителю."
GREEK = "Οι εργαζόμενοι δικαιούνται δώδεκα εβδομάδες άδειας μετ' αποδοχών ετησίως."
HEBREW = "עובדים זכאים לשנים עשר שבועות של חופשה בתשלום בשנה. יש להגיש בקשה שבועיים מראש."
ARABIC = "يحق للموظفين الحصول على اثني عشر أسبوعًا من الإجازة المدفوعة سنويًا."
POLISH = "Pracownicy mają prawo do dwunastu tygodni płatnego urlopu. Wniosek należy złożyć wcześniej. Źdźbło, żółć."
CZECH = "Zaměstnanci mají nárok na dvanáct týdnů placené dovolené ročně. Žádost je třeba podat předem."
HUNGARIAN = "A munkavállalók évente tizenkét hét fizetett szabadságra jogosultak, hűségesen és örömmel, időben."
TURKISH = "Çalışanlar yılda on iki hafta ücretli izin hakkına sahiptir. Başvuru iki hafta önce yapılmalıdır."
GERMAN = "Die Beschäftigten haben Anspruch auf zwölf Wochen bezahlten Urlaub. Größe und Höhe sind maßgeblich."
FRENCH = "Les employés ont droit à douze semaines de congés payés par an; la demande doit être déposée à l’avance."
SPANISH = "La solicitud deberá presentarse con dos semanas de antelación, según la señora Muñoz. ¿Está claro?"
SWEDISH = "De anställda har rätt till tolv veckors betald semester per år. Ansökan lämnas två veckor före."
ENGLISH = "It’s the employee’s right – “twelve weeks” of leave… The fee is £20 or €25 per café visit."

TEXTS = {
    "gbk": CHINESE,
    "gb18030": CHINESE,
    "big5": TRADITIONAL,
    "shift_jis": JAPANESE,
    "euc_jp": JAPANESE,
    "euc_kr": KOREAN,
    "cp1251": RUSSIAN,
    "koi8_r": RUSSIAN,
    "cp866": RUSSIAN.replace("ё", "е"),
    "cp1253": GREEK,
    "cp1255": HEBREW,
    "cp1256": ARABIC,
    "cp1254": TURKISH,
    "utf-16-le": GERMAN,
    "utf-16-be": ENGLISH,
    "iso8859_2": POLISH,
}
CASES = [
    *TEXTS.items(),
    *(("cp1250", text) for text in (POLISH, CZECH, HUNGARIAN)),
    *(("cp1252", text) for text in (GERMAN, FRENCH, SPANISH, SWEDISH, ENGLISH, "name;city\nJosé;Paris\nAnna;Rome")),
]


@pytest.mark.parametrize("length", [1, 40], ids=["a sentence", "a page"])
@pytest.mark.parametrize(("encoding", "text"), CASES)
def test_a_text_is_read_in_the_encoding_that_it_was_written_in(encoding: str, text: str, length: int) -> None:
    _, read = extract.plain((text * length).encode(encoding))
    assert read == text * length


@pytest.mark.parametrize(("encoding", "text"), [*TEXTS.items()][:7])
def test_a_table_has_few_words_and_is_read_all_the_same(encoding: str, text: str) -> None:
    table = "id;note\n" + "\n".join(f"{row};{text[row % 20 : row % 20 + 16]}" for row in range(60))
    assert extract.plain(table.encode(encoding))[1] == table


def test_a_log_with_a_broken_character_is_utf_8() -> None:
    assert extract.plain(GERMAN.encode() * 20 + b"\xff")[1] == GERMAN * 20 + "\N{REPLACEMENT CHARACTER}"


async def test_what_is_no_text_in_any_encoding_is_refused_with_the_remedy() -> None:
    noise = bytes(range(128, 256)) * 40
    assert encoding_of(noise) == ""
    with pytest.raises(ApiError) as caught:
        await Extraction(200, 20).read(noise, "text/plain")
    assert caught.value.status == 422
    assert "charset=gbk" in str(caught.value)
    assert (await Extraction(200, 20).read(CHINESE.encode("gbk"), "text/plain", "gbk")).text == CHINESE
