"""What the checks share: the files of the tree, and C sources without comments and the insides of literals."""
import os
import re
import subprocess

ROOMS = ('core', 'ops', 'nn', 'optim', 'models', 'peft')
SKIP = re.compile(r'^(build[^/]*|run[^/]*|shared|\..*|__pycache__)$')


def tree(root):
    """Paths of the tree's files, relative to root: what git would track, or everything but build folders."""
    if os.path.exists(os.path.join(root, '.git')):
        done = subprocess.run(['git', '-C', root, 'ls-files', '-z', '-co', '--exclude-standard'],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            names = set(done.stdout.decode().split('\0')) - {''}
            return sorted(n for n in names if os.path.isfile(os.path.join(root, n)))
    found = []
    for folder, folders, names in os.walk(root):
        top = os.path.relpath(folder, root)
        folders[:] = [d for d in folders if not SKIP.match(d) or (top == '.' and d == '.ci')]
        found += [os.path.normpath(os.path.join(top, n)) for n in names]
    return sorted(found)


def read(root, name):
    with open(os.path.join(root, name), encoding='utf-8', errors='replace', newline='') as f:
        return f.read()


LITERAL = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def _blank(match):
    text = match.group(0)
    kept = ''.join(c if c == '\n' else ' ' for c in text)
    return kept if text[0] == '/' else text[0] + kept[1:-1] + text[-1]


def code(text):
    """text with comments and the insides of string literals blanked; lines and columns stay."""
    return LITERAL.sub(_blank, text)


def public_headers(root):
    """Headers that tapir.h reaches, in reading order."""
    order, waiting = [], ['tapir.h']
    while waiting:
        name = waiting.pop(0)
        if name in order or not os.path.isfile(os.path.join(root, name)):
            continue
        order.append(name)
        for inner in re.findall(r'^\s*#\s*include\s+"([^"]+)"', read(root, name), re.M):
            waiting.append(inner if '/' in inner else os.path.normpath(os.path.join(os.path.dirname(name), inner)))
    return order


def functions(text):
    """(name, line of its opening brace, lines inside the braces) of each function; text as code() gives it."""
    lines, found, start = text.split('\n'), [], None
    for i, line in enumerate(lines):
        if line.rstrip() == '{':
            start = i
        elif line.startswith('}') and start is not None:
            head = ' '.join(lines[max(0, start - 12):start])
            head = re.split(r'[;}]', head)[-1]
            name = re.search(r'([A-Za-z_]\w*(?:\(\w+\))?)\s*\(', head)
            found.append((name.group(1) if name else '?', start + 1, i - start - 1))
            start = None
    return found
