#!/usr/bin/env python3
"""Writes the reference, one HTML page, from the public headers: those that tapir.h reaches, in its order.

usage: reference.py ROOT OUTPUT.html [DEPFILE]

A header is a row of blocks between blank lines: a comment, declarations, or both.  What is declared becomes an anchor, and every
other mention of it a link.
"""
import html
import os
import re
import sys

COMMENT = re.compile(r'/\*.*?\*/', re.S)
TITLE = re.compile(r'^/\* -+ (.*?) -+[\s*/]*', re.S)
NAMES = (
    re.compile(r'^TP_API\b[^;(]*?\b(tp_\w+)\s*(?:\(|;|\[)', re.M),  # functions and constants
    re.compile(r'^#define\s+(TP_\w+)', re.M),
    re.compile(r'^\}\s*(tp_\w+)\s*;', re.M),  # typedef struct { } name;
    re.compile(r'^(?:typedef\s+)?(?:struct|enum)\s+(tp_\w+)\s*\{', re.M),
    re.compile(r'^typedef\s[^;{]*?\(\*(tp_\w+)\)', re.M),
    re.compile(r'^typedef\s[^;{(]*?\b(tp_\w+)\s*;', re.M),
    re.compile(r'^enum\s*\{\s*(TP_\w+)', re.M),
)
STYLE = '''body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 sans-serif; color: #222; background: #fff }
pre { font: 14px/1.45 monospace; background: #f6f6f4; padding: .7rem .9rem; overflow-x: auto; margin: .4rem 0 }
pre.text { background: none; padding: 0 .9rem; border-left: 3px solid #ddd }
section.item { margin: 1.6rem 0 } a { color: #05549c; text-decoration: none } a:hover { text-decoration: underline }
ul.index { columns: 4 13rem; list-style: none; padding: 0; font: 14px/1.6 monospace }'''


def read(root, name):
    with open(os.path.join(root, name), encoding='utf-8') as f:
        return f.read()


def headers(root):
    order, waiting = [], ['tapir.h']
    while waiting:
        name = waiting.pop(0)
        if name in order:
            continue
        order.append(name)
        inner = re.findall(r'^#include "([^"]+)"', read(root, name), re.M)
        waiting = [i if '/' in i else os.path.join(os.path.dirname(name), i) for i in inner] + waiting
    return order


def blocks(text):
    """The header's blocks without guards, includes and the brackets of extern "C"; blank lines in comments and braces stay."""
    text = re.sub(r'^#ifdef __cplusplus\n(?:#include <initializer_list>\n\n)?(?:extern "C" \{|\})\n#endif\n', '\n', text, flags=re.M)
    text = re.sub(r'^#ifndef (TPI?_\w+_H)\n#define \1\n', '\n', text, flags=re.M)
    text = re.sub(r'^#include .*\n', '\n', text, flags=re.M)
    text = re.sub(r'\n#endif\s*\Z', '\n', text)
    block, depth, found = [], 0, []
    for line in text.split('\n'):
        bare = line.strip()
        if not bare and depth == 0:
            found.append('\n'.join(block))
            block = []
            continue
        block.append(line)
        depth += line.count('{') + line.count('/*') - line.count('}') - line.count('*/')
    found.append('\n'.join(block))
    return [b for b in found if b.strip()]


def comment_text(comment):
    """A comment without its marks; the lines keep their places beside each other."""
    body = re.sub(r'^/\*+ ?|\s*\*/$', '', comment.strip())
    lines = [re.sub(r'^ \* ?', '', line) for line in body.split('\n')]
    return '\n'.join(lines).strip('\n').rstrip()


def declared(text):
    code = COMMENT.sub(lambda m: re.sub(r'[^\n]', ' ', m.group(0)), text)
    names = []
    for pattern in NAMES:
        names += pattern.findall(code)
    return list(dict.fromkeys(names))


class Page:
    def __init__(self):
        self.anchors, self.parts = {}, []

    def linked(self, text, own=()):
        def link(match):
            name = match.group(0)
            return f'<a href="#{name}">{name}</a>' if name in self.anchors and name not in own else name
        return re.sub(r'\b(?:tp|TP)_\w+', link, html.escape(text, quote=False))

    def item(self, block, first):
        title = TITLE.match(block)
        if title:
            self.parts.append(f'<h3>{html.escape(title.group(1).strip(" -*"))}</h3>')
            block = block[title.end():].lstrip('\n')
        lead = re.match(r'\s*(/\*.*?\*/)[ \t]*(?:\n|$)', block, re.S)
        text, code = (comment_text(lead.group(1)), block[lead.end():]) if lead else ('', block)
        if re.search(r'^/\*', code, re.M):  # one of several comments: they stay where they are
            text, code = '', block
        if first:
            text = re.sub(r'^\S+ - ', '', text)
        if not (text + code).strip():
            return
        names = [n for n in declared(code) if self.anchors.get(n) is False]
        for n in names:
            self.anchors[n] = True
        marks = ''.join(f'<a id="{n}"></a>' for n in names)
        self.parts.append(f'<section class="item">{marks}')
        if code.strip():
            self.parts.append(f'<pre>{self.linked(code.rstrip(), names)}</pre>')
        if text:
            self.parts.append(f'<pre class="text">{self.linked(text)}</pre>')
        self.parts.append('</section>')

    def write(self, version):
        functions = sorted(n for n in self.anchors if n.startswith('tp_'))
        index = ''.join(f'<li><a href="#{n}">{n}</a></li>' for n in functions)
        return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Tapir {version}: reference</title>\n'
                f'<style>{STYLE}</style></head><body>\n<h1>Tapir {version}: reference</h1>\n<h2>All names</h2>\n'
                f'<ul class="index">{index}</ul>\n' + '\n'.join(self.parts) + '\n</body></html>\n')


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.split('\n\n')[1])
    root, output = sys.argv[1], sys.argv[2]
    names = headers(root)
    page = Page()
    for name in names:
        page.anchors.update((n, False) for n in declared(read(root, name)) if not n.endswith('_H'))
    for name in names:
        inside = blocks(read(root, name))
        if name == 'tapir.h' or not declared(read(root, name)):
            continue
        page.parts.append(f'<h2 id="{name}">{name}</h2>')
        for k, block in enumerate(inside):
            page.item(block, k == 0)
    version = re.search(r'TP_VERSION "([^"]+)"', read(root, 'core/core.h')).group(1)
    lost = [n for n, placed in page.anchors.items() if not placed]
    if lost:
        sys.exit(f'reference.py: no place for {", ".join(lost)}')
    with open(output, 'w', encoding='utf-8') as f:
        f.write(page.write(version))
    if len(sys.argv) > 3:
        with open(sys.argv[3], 'w', encoding='utf-8') as f:
            f.write(f'{output}: {" ".join(os.path.join(root, n) for n in names)}\n')


main()
