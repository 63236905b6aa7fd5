#!/usr/bin/env python3
"""Style that a script can see (DESIGN.md 1, 2, 7).  usage: check_style.py [root]; one line per finding, exit 1 on any."""
import os
import re
import sys

import csource

C = ('.c', '.h', '.cu', '.cuh')
TEXT = C + ('.py', '.sh', '.md', '.build', '.txt', '.in', '.yml', '.toml')
WIDTH, FILE, KERNEL_FILE, FUNCTION = 130, 500, 800, 60
WIDE = ('.py', '.build')  # tables and long strings stand there

EVERYWHERE = re.compile(r'(?<![\w.>])(sprintf|vsprintf|strcpy|strcat|gets|atoi|atol|atoll|atof|strtok|tmpnam|mktemp)\s*\(')
NOT_IN_TOOLS = re.compile(r'(?<![\w.>])(system|popen)\s*\(')
NOT_IN_LIBRARY = re.compile(r'(?<![\w.>])(abort|exit|_exit|_Exit|quick_exit|printf|vprintf|puts|putchar|perror|rand|srand'
                            r'|setlocale)\s*\(|\b(stdout|stderr)\b')
MAY_PRINT = ('tp_ctx_finish', 'tp_print')
LEFT_OVER = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b|(?i:\bnot (yet )?implemented\b|\bunimplemented\b)')
MACHINE = re.compile(r'(?<![\w.$}])/(work|root|home|mnt|tmp)/\w|(?<![\w.$}])/work\b')
HOST = re.compile(r'\b(pypi\.org|pythonhosted\.org|(deb|snapshot|security)\.debian\.org|archive\.ubuntu\.com|registry\.\w+'
                  r'|index-url|extra-index|artifactory|proxy\.golang\.org)\b', re.I)
HELPER = re.compile(r'\b(claude|anthropic|copilot|chatgpt|codex|sub-?agents?|work ?trees?)\b', re.I)
JUMP = re.compile(r'\b(return|goto|break|continue|free|tpi_free|tp_release)\b')


class Style:
    def __init__(self, root):
        self.root, self.count, self.names = root, 0, {}

    def finding(self, name, line, text):
        print(f'{name}:{line}: {text}' if line else f'{name}: {text}')
        self.count += 1

    def text(self, name, text):
        if text and not text.endswith('\n'):
            self.finding(name, 0, 'no newline at the end of the file')
        for i, line in enumerate(text.split('\n'), 1):
            if len(line) > WIDTH and not name.endswith(WIDE):
                self.finding(name, i, f'{len(line)} columns; at most {WIDTH}')
            if '\t' in line:
                self.finding(name, i, 'a tab')
            if line != line.rstrip() and not (name.endswith('.md') and line.endswith('  ')):
                self.finding(name, i, 'space at the end of the line' if not line.endswith('\r') else 'a carriage return')
            if os.path.basename(name) in ('check_style.py', 'check_selftest.sh'):
                continue
            for pattern, what in ((LEFT_OVER, 'left over'), (MACHINE, 'a path of one machine'), (HOST, 'names a registry'),
                                  (HELPER, 'names a helper')):
                found = pattern.search(line)
                if found:
                    self.finding(name, i, f'{what}: {found.group(0).strip()}')

    def c_file(self, name, text):
        room = name.split('/')[0]
        code = csource.code(text)
        limit = KERNEL_FILE if re.match(r'ops/(ref|cpu|cuda)/', name) else FILE
        lines = text.count('\n')
        if lines >= limit:
            self.finding(name, 0, f'{lines} lines; fewer than {limit}')
        if not text.startswith('/*'):
            self.finding(name, 1, 'no head comment')
        inside = {}
        for function, start, length in csource.functions(code):
            inside.update((i, function) for i in range(start, start + length + 2))
            if length > FUNCTION:
                self.finding(name, start, f'{function}() has {length} lines; at most {FUNCTION}')
        for i, line in enumerate(code.split('\n'), 1):
            self.c_line(name, room, i, line, inside.get(i))
        self.macros(name, code)

    def c_line(self, name, room, i, line, function):
        found = EVERYWHERE.search(line)
        if found:
            self.finding(name, i, f'{found.group(1)}() is not used here')
        found = NOT_IN_TOOLS.search(line)
        if found and room != 'tests':
            self.finding(name, i, f'{found.group(1)}() is not used here')
        found = NOT_IN_LIBRARY.search(line)
        if found and room in csource.ROOMS and function not in MAY_PRINT and not line.startswith('TP_API'):
            self.finding(name, i, f'{found.group(1) or found.group(2)}: the library neither prints nor exits')
        if re.match(r'(?!typedef|struct|union|enum|extern|static const|const|#)[A-Za-z_].*\)\s*\{\s*$', line):
            self.finding(name, i, 'the brace of a function stands on a line of its own')
        if re.search(r'\b(char|void|float|double|int|bool|size_t|u?int\d+_t|FILE|tp_\w+|tpi_\w+)\* +\w', line):
            self.finding(name, i, 'pointers are written "char *p"')
        if re.search(r'#\s*include\s*"[^"]*"', line) is None and re.search(r'\btypedef\b.*\b\w+_t\s*;', line):
            self.finding(name, i, 'a type ends in _t')

    def macros(self, name, code):
        for match in re.finditer(r'^[ ]*#[ ]*define[ ]+(\w+)(\([^)]*\))?((?:.*\\\n)*.*)$', code, re.M):
            line, body = code.count('\n', 0, match.start()) + 1, match.group(3)
            jump = JUMP.search(body)
            if jump:
                self.finding(name, line, f'the macro {match.group(1)} has {jump.group(1)} in it')
            elif '{' in body and ';' in body:
                self.finding(name, line, f'the macro {match.group(1)} is a body of code')

    def file(self, name):
        if not name.endswith(TEXT) and name not in ('.ci/run', '.gitignore'):
            return
        text = csource.read(self.root, name)
        self.text(name, text)
        if name.endswith(C):
            base = os.path.basename(name)
            if base in self.names:
                self.finding(name, 0, f'there is a {self.names[base]} too; names are unique in the tree')
            self.names[base] = name
            self.c_file(name, text)
            for inner in re.findall(r'#\s*include\s*"([^"]*\.c)"', text):
                self.finding(name, 0, f'includes {inner}')


def main():
    style = Style(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    for name in csource.tree(style.root):
        style.file(name)
    return 1 if style.count else 0


if __name__ == '__main__':
    sys.exit(main())
