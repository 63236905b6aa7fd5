#!/usr/bin/env python3
"""Public functions have a contract, a house name, a proper first parameter, and a test that calls them by name (DESIGN.md 5, 7).

usage: check_api.py [root]; one line per finding, exit 1 on any.  Public headers are those that tapir.h reaches.
"""
import os
import re
import sys

import csource

DECLARATION = re.compile(r'^TP_API\b([^;{]*?)(?:;|\{)', re.M | re.S)


def has_contract(text, start, end):
    """A comment directly above the declaration's group of lines (no blank line between), or behind it on its line."""
    rest = text[end:text.find('\n', end)]
    if '/*' in rest:
        return True
    for line in reversed(text[:start].split('\n')[:-1]):
        stripped = line.strip()
        if stripped.endswith('*/'):
            return '----' not in stripped  # the title of a section is none
        if stripped == '':
            return False
    return False


def first_parameter(arguments):
    """Whether the first parameter is a context, an object or a value of ours; one without parameters asks nothing."""
    first = arguments.split(',')[0].strip()
    return first == 'void' or re.match(r'(const\s+)?(struct\s+)?tp_\w+\b', first) is not None


def public_functions(root, name, report):
    text = csource.read(root, name)
    code = csource.code(text)
    for match in DECLARATION.finditer(code):
        line = code.count('\n', 0, match.start()) + 1
        head = re.sub(r'\b__attribute__\s*\(\(.*?\)\)|\bTP_PRINTF\([^)]*\)', '', match.group(1))
        found = re.search(r'(\w+)\s*\((.*)\)\s*$', head, re.S)
        if not found:
            if re.match(r'\s*extern\b', head):  # constants such as the adapter types
                variable = re.search(r'(\w+)(\[\])?\s*$', head)
                yield line, variable.group(1), None
                if 'const' not in head:
                    report(name, line, f'{variable.group(1)} is public and not const')
                if not has_contract(text, match.start(), match.end()):
                    report(name, line, f'{variable.group(1)} has no comment before it')
            else:
                report(name, line, 'a TP_API that this script cannot read')
            continue
        function, arguments = found.group(1), re.sub(r'\s+', ' ', found.group(2))
        # a function that returns or takes function pointers: the name is the first word before a parenthesis
        outer = re.match(r'[^(]*?(\w+)\s*\(', head, re.S)
        if outer:
            function, arguments = outer.group(1), re.sub(r'\s+', ' ', head[outer.end():].rsplit(')', 1)[0])
        if not re.fullmatch(r'tp_[a-z0-9_]+', function):
            report(name, line, f'{function} is public and not named tp_*')
        if not has_contract(text, match.start(), match.end()):
            report(name, line, f'{function} has no comment before it')
        if not first_parameter(arguments):
            report(name, line, f'{function}: the first parameter is "{arguments.split(",")[0].strip()}", no tp_ctx and no object')
        yield line, function, arguments


def test_words(root):
    words = set()
    for name in csource.tree(root):
        if name.startswith('tests/') and name.endswith(('.c', '.h', '.cc', '.cpp')):
            words.update(re.findall(r'\btp_\w+', csource.code(csource.read(root, name))))
        elif name.startswith('tests/') and name.endswith(('.sh', '.py')) and not os.path.basename(name).startswith('check_'):
            words.update(re.findall(r'\btp_\w+', csource.read(root, name)))
    return words


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
    findings, seen, headers = [], {}, csource.public_headers(root)

    def report(name, line, text):
        findings.append(f'{name}:{line}: {text}')

    tested = test_words(root)
    for name in headers:
        for line, function, _ in public_functions(root, name, report):
            if function in seen:
                report(name, line, f'{function} is declared in {seen[function]} too')
            seen[function] = name
            if function not in tested:
                report(name, line, f'{function} is in no test')
    for name in csource.tree(root):
        if name.endswith('.h') and name not in headers and not name.startswith(('tests/', 'tools/')):
            code = csource.code(csource.read(root, name))
            for match in re.finditer(r'^TP_API\b', code, re.M):
                report(name, code.count('\n', 0, match.start()) + 1, 'TP_API in a header that tapir.h does not reach')
    for text in findings:
        print(text)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
