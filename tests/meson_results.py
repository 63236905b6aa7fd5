#!/usr/bin/env python3
"""Turns Meson's testlog.json into lines "pass|skip|fail|note|show <tab> name <tab> reason" for run.sh.

usage: meson_results.py testlog.json label
"""
import json
import re
import sys


def last_line(test):
    lines = [s.strip() for s in (test.get('stdout', '') + '\n' + test.get('stderr', '')).split('\n') if s.strip()]
    return lines[-1].replace('\t', ' ') if lines else 'no output'


def results(test, label):
    name = f"{label}: {test['name']}"
    result = test['result']
    output = test.get('stdout', '') + '\n' + test.get('stderr', '')
    if result in ('OK', 'EXPECTEDFAIL'):
        yield 'pass', name, ''
        # cmocka's cases that skip inside a test that passes
        for case in sorted(set(re.findall(r'\[  SKIPPED \] (?!\d)(\w+)', output))):
            yield 'note', name, f'{case} skipped itself'
    elif result == 'SKIP':
        yield 'skip', name, last_line(test)
    else:
        for line in output.strip().split('\n')[-60:]:
            yield 'show', line.replace('\t', '    '), ''
        yield 'fail', name, f"{result}, exit {test.get('returncode')}, {test.get('duration', 0):.0f} s"


def main():
    with open(sys.argv[1], encoding='utf-8', errors='replace') as f:
        for line in f:
            for row in results(json.loads(line), sys.argv[2]):
                print('\t'.join(row))


if __name__ == '__main__':
    main()
