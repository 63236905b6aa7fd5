# SPDX-License-Identifier: Apache-2.0
"""Writes ../../models/text/unicode_new.c: the characters whose general category is another one than in Unicode 14.0.

    python golden_unicode.py           rewrite it
    python golden_unicode.py --check   exit with 1 if it would come out differently

The oracle is what \\p{..} means to the regular expressions of Hugging Face tokenizers; PCRE2 10.42 of Debian 12 knows Unicode 14.0,
as does Python 3.11, which is needed to run this.
Needs: tokenizers.
"""
import pathlib
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

FILE = pathlib.Path(__file__).resolve().parent.parent.parent / "models" / "text" / "unicode_new.c"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HEAD = """/* unicode_new.c - characters that Unicode 15.0, 15.1 and 16.0 added or changed: the libraries of Debian 12 know 14.0 and 15.0.
 * Written by tests/golden/golden_unicode.py. */
#include "models/text/unicode.h"

"""


def of_category(category):
    split = pre_tokenizers.Split(Regex(r"\p{%s}" % category), "removed")
    for i in range(0, len(POINTS), 4096):
        chunk = POINTS[i:i + 4096]
        match = [True] * len(chunk)
        for _, (a, b) in split.pre_tokenize_str("".join(map(chr, chunk))):
            match[a:b] = [False] * (b - a)
        yield from (c for c, yes in zip(chunk, match) if yes)


def ranges():
    new = sorted((c, k) for k in CATEGORIES for c in of_category(k) if unicodedata.category(chr(c)) != k)
    out = []
    for c, k in new:
        if out and out[-1][1] == c - 1 and out[-1][2] == k:
            out[-1][1] = c
        else:
            out.append([c, c, k])
    return out


def text():
    items = [f"{{ 0x{a:x}, 0x{b:x}, \"{k}\" }}" for a, b, k in ranges()]
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 120:
            lines.append(line)
            line = "   "
        line += f" {item},"
    body = "\n".join(lines + [line])
    return HEAD + f"const tpi_new_chars tpi_unicode_new[TPI_UNICODE_NEW] = {{\n{body}\n}};\n", len(items)


def main():
    if unicodedata.unidata_version != "14.0.0":
        print("golden_unicode.py: skipped: this Python does not know Unicode 14.0")
        sys.exit(77)
    new, n = text()
    if "--check" in sys.argv:
        sys.exit(FILE.read_text() != new)
    FILE.write_text(new)
    print(n, "ranges")


if __name__ == "__main__":
    main()
