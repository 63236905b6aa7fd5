# SPDX-License-Identifier: Apache-2.0
"""A corpus of more than 1 MB on which tokenizers are compared: {kind: [line, ...]}, the same on every run.

Prose and arithmetic come from the data folder and from Python's own library, everything else from this file: code in several
languages, fifteen scripts (composed and decomposed), emoji, odd spaces, digits of all systems, every assigned code point
outside the large uniform blocks, and text that looks like control tokens. A line holds no \\n; it may hold every other character.
"""
import inspect
import json
import os
import random
import unicodedata

SCRIPTS = {
    "greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι με λογική και συνείδηση.",
    "cyrillic": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в духе братства.",
    "arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح الإخاء.",
    "hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחווה.",
    "devanagari": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है।",
    "bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। তাঁদের বিবেক এবং বুদ্ধি আছে।",
    "tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் மதிப்பிலும், உரிமைகளிலும் சமமானவர்கள்.",
    "thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "han": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "kana": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。コンピュータは、ﾃﾞｰﾀを読みます。",
    "hangul": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 서로 형제애의 정신으로 행동하여야 한다.",
    "georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით. მათ მინიჭებული აქვთ გონება და სინდისი.",
    "armenian": "Բոլոր մարդիկ ծնվում են ազատ ու հավասար՝ իրենց արժանապատվությամբ և իրավունքներով։ Նրանք ունեն բանականություն և խիղճ։",
    "ethiopic": "የሰው፡ልጅ፡ሁሉ፡ሲወለድ፡ነጻና፡በክብርና፡በመብትም፡እኩልነት፡ያለው፡ነው። ፩፪፫ ፲፻",
    "latin": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm. Zażółć gęślą jaźń; Größe, Œuvre, ǅ, ﬁne, ĲSSEL, naïve — İstanbul'da ışık.",
}

CODE = (r"""
static int cmp(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }  /* qsort */
#define MAX(a, b) ((a) > (b) ? (a) : (b))
""" "\tfor (size_t i = 0; i < n; i++)\tx[i] += 0x1F & ~mask[i] << 3;\n" r"""    printf("%-8s|%08.3f|%lld\n", name, 3.14159e-10, 18446744073709551615ull);
template <typename T, int N> constexpr auto f(T (&&a)[N]) -> decltype(a[0]) { return a[N-1]; }
const add = async (...xs) => xs.reduce((a, b) => a + b, 0n); // "don't" `${x ?? y?.z}`
fn main() -> Result<(), Box<dyn Error>> { let v: Vec<_> = (0..=10).map(|x| x.pow(2)).collect(); Ok(()) }
SELECT u.id, COUNT(*) AS n FROM users u LEFT JOIN orders o ON o.uid = u.id WHERE u.name LIKE '%O''Neil%' GROUP BY 1;
<div class="a b" style='width:100%;'>&nbsp;&copy; 2024 <!-- it's -->  </div>
\begin{equation} \sum_{i=1}^{N} x_i^{2} \leq \frac{\partial f}{\partial \theta}\Bigg|_{\theta_0} \end{equation}
if [ -z "${HOME:-}" ]; then echo "can't" >&2; exit 1; fi; grep -E '^[[:space:]]*#' *.c | wc -l
@dataclass(frozen=True)
        return {k: v for k, v in sorted(d.items(), key=lambda kv: -kv[1])[:10]} if d else None
git log --format='%h %s' v1.0..HEAD -- src/*.{c,h} | sed -e 's/\t/    /g'
{"key": [1, 2.5e+10, -0, null, true], "nested": {"a\u00e9\n": "\\\"quoted\\\""}}
0000000000401000 <_start>: 48 83 ec 08  sub $0x8,%rsp
""").strip("\n").split("\n")

SPACES = [" ", "  ", "   ", "\t", "\t\t", "\r", " \r", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2000", "\u2003", "\u2009",
          "\u200a", "\u200b", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "\xad"]

EMOJI = ["😀", "😂🤣", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "1️⃣", "#️⃣", "❤️", "☃", "✈︎", "🧑🏿‍🚀", "🫠", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "©️", "→⇒∀∃≤", "½¾", "𝔘𝔫𝔦", "🀄", "\u200d", "\ufe0f"]

CONTROL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>",
           "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<jupyter_script>",
           "<empty_output>", "<|im_start", "|im_end|>", "<|im_end|", "<|IM_END|>", "< |im_end|>", "<s>", "</s>", "[INST]", "<|eot_id|>", "<|im_<|im_start|>start|>"]

CONTRACTIONS = ["don't", "I'll", "we've", "they're", "she'd", "it's", "I'm", "DON'T", "I'LL", "'s", "''s", "'S", "'tis", "o'clock",
                "rock'n'roll", "’s", "it’s", "'ve'll"]


def prose(data):
    mawps = [json.loads(line) for line in open(os.path.join(data, "mawps", "train.jsonl"), encoding="utf-8")]
    yield from (part for row in mawps for text in (row["prompt"], row["completion"]) for part in text.split("\n"))
    gsm8k = os.path.join(data, "gsm8k", "test.jsonl")
    if os.path.exists(gsm8k):
        rows = [json.loads(line) for line in open(gsm8k, encoding="utf-8")]
        yield from (part for row in rows for text in (row["question"], row["answer"]) for part in text.split("\n"))


def code(rng):
    import argparse, difflib, tarfile, textwrap
    for module in (argparse, difflib, tarfile, textwrap):
        yield from inspect.getsource(module).split("\n")
    for _ in range(400):
        line = rng.choice(CODE)
        yield rng.choice(["", "\t", "\t\t", "    ", "  ", " "]) + line + rng.choice(["", " ", "\r", "  // ok"])


def scripts(rng):
    for name, text in SCRIPTS.items():
        words = text.split(" ") if " " in text else list(text)
        yield text
        yield unicodedata.normalize("NFD", text)
        yield unicodedata.normalize("NFKC", text)
        for _ in range(60):
            some = rng.choices(words, k=rng.randint(1, 12))
            line = rng.choice([" ", " ", "", "  ", "-", "\u200b"]).join(some)
            yield rng.choice([line, line.upper(), unicodedata.normalize("NFD", line), line + str(rng.randint(0, 9999)), "(" + line + ")"])
    everything = [word for text in SCRIPTS.values() for word in text.split(" ")]
    for _ in range(600):
        yield rng.choice([" ", "", ", "]).join(rng.choices(everything, k=rng.randint(2, 8)))


def emoji(rng):
    words = ["ok", "Hello", "42", "a", "é", "!", "...", "人"]
    for _ in range(500):
        yield rng.choice([" ", "", "  "]).join(rng.choices(EMOJI + words, k=rng.randint(1, 8)))


def spaces(rng):
    yield ""
    for space in SPACES:
        yield from (space, space * 2, space * 5, f"a{space}b", f"{space}a", f"a{space}", f"a {space}b", f"a{space} b")
        yield from (f"1{space}2", f"!{space}!", f"a\x00{space}")
    words = ["a", "The", "x1", "12", ".", "\"", "é", "的", "'s", "_", "🙂"]
    for _ in range(2000):
        yield "".join(rng.choice(SPACES if rng.random() < 0.5 else words) for _ in range(rng.randint(2, 16)))


def digits(rng):
    for n in (0, 7, 10, 99, 100, 1234, 65536, 1234567890, 3.14159, 1e-7, 6.02e23):
        yield from (str(n), f" {n}", f"  {n}", f"a{n}b", f"${n:,}", f"-{n}%", f"{n}{n}", f"({n})")
    numbers = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Nd", "Nl", "No")]
    yield from (f"x{c}y 5{c} {c}{c}  {c}" for c in numbers)
    for _ in range(800):
        yield "".join(rng.choice([" ", "  ", "a", ".", ",", "-", "7", "42", "1999", "٣", "४", "５", "Ⅷ", "²", "½"]) for _ in range(rng.randint(1, 20)))


def code_points(rng):
    uniform = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x17000, 0x18CFF), (0x20000, 0x3FFFF), (0xE000, 0xF8FF), (0xF0000, 0x10FFFF)]
    large = [chr(c) for low, high in uniform for c in range(low, high, 997)]
    skip = [c for low, high in uniform for c in range(low, high + 1)]
    small = set(range(0x110000)) - set(skip) - {10}
    every = large + [chr(c) for c in sorted(small) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    rng.shuffle(every)
    for i in range(0, len(every), 24):
        yield "".join(c + rng.choice(["", "", " ", "a", "1", "'s", "."]) for c in every[i:i + 24])


def control(rng):
    for token in CONTROL:
        yield from (token, token * 2, f"a{token}b", f" {token} ", f"{token}\r", f"\u00e9{token}1", token[:-1], token[1:])
    words = ["user", "system", "assistant", "Hello there", " ", "  ", "\t", "12", "é"]
    for _ in range(600):
        yield "".join(rng.choices(CONTROL + words, k=rng.randint(1, 8)))
    yield from CONTRACTIONS
    for _ in range(200):
        yield rng.choice([" ", "", "  "]).join(rng.choices(CONTRACTIONS, k=rng.randint(2, 6)))


def long_lines(rng):
    for unit in ("a", "ab", " ", "1", "!", "é", "的", "🙂", "a ", "\t", "\u0301"):
        yield unit * (4000 // len(unit))
    yield "".join(rng.choice("acgt") for _ in range(20000))


def build(data):
    """{kind: lines}; `data` is the folder of TAPIR_DATA."""
    rng = random.Random(20)
    parts = dict(prose=prose(data), code=code(rng), scripts=scripts(rng), emoji=emoji(rng), spaces=spaces(rng), digits=digits(rng),
                 code_points=code_points(rng), control=control(rng), long=long_lines(rng))
    return {kind: list(lines) for kind, lines in parts.items()}
