#!/usr/bin/env python3
"""Writes the calls of tests/core/test_failed_context.c: a C function for each TP_API function of the public headers.

usage: sweep.py ROOT OUTPUT.c [DEPFILE]
"""
import os
import re
import sys

import csource

# What a call with nothing in its hands, or on a failed context, gives instead of NULL, false, 0 or NaN.
ANY_RESULT = {
    # of constants
    'tp_version', 'tp_dtype_name', 'tp_dtype_size', 'tp_dtype_is_float',
    # of the context itself
    'tp_error', 'tp_error_code', 'tp_backend_name', 'tp_ctx_device', 'tp_threads', 'tp_record', 'tp_recording',
    # of a tensor, without a context
    'tp_retain', 'tp_shape_text', 'tp_grad', 'tp_trainable', 'tp_needs_grad', 'tp_ndim', 'tp_dim', 'tp_stride', 'tp_numel',
    'tp_dtype_of', 'tp_is_contiguous', 'tp_same_shape', 'tp_same_storage',
    # of no object: "", "none", 1
    'tp_file_kind', 'tp_file_path', 'tp_template_name', 'tp_schedule_factor',
}
# These say -1: no such token, or a failure.
MINUS_ONE = {'tp_loader_batches', 'tp_tokenizer_id', 'tp_tokenizer_bos', 'tp_tokenizer_eos', 'tp_tokenizer_pad',
             'tp_tokenizer_unk'}
# The context ends, or its error: they are called by the test itself.
# What a call may return although its numbers make no sense, and who frees it.
OWNED = {'tp_samples *': 'tp_samples_free'}
BY_HAND = {'tp_ctx_new', 'tp_ctx_free', 'tp_ctx_finish', 'tp_error_clear'}
# Take a NULL tensor as something that makes sense.
NULL_IS_FINE = {'tp_scope_return'}

DECLARATION = re.compile(r'^TP_API\b([^;{]*?)(?:;|\{)', re.M | re.S)
INTEGERS = {'int': 'g->i', 'unsigned': '(unsigned)g->i', 'int32_t': '(int32_t)g->i', 'uint32_t': '(uint32_t)g->i',
            'int64_t': 'g->l', 'uint64_t': '(uint64_t)g->l', 'size_t': 'g->n'}
POINTERS = {'tp_tensor *': 'g->x', 'tp_tensor **': 'g->out', 'tp_tensor *const *': 'g->list', 'int64_t *': 'g->dim',
            'int *': 'g->axes', 'char *': 'g->text', 'double *': 'g->real'}


def split(arguments):
    """At the commas outside of parentheses."""
    parts, depth = [''], 0
    for c in arguments:
        depth += (c == '(') - (c == ')')
        if c == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip() not in ('', 'void')]


def argument(text, enums):
    """The expression for one parameter and its bare type."""
    if '(*' in text:
        return 'NULL', 'function'
    if text == '...':
        return '7', '...'
    found = re.fullmatch(r'(.*?)\b(\w+)(\[\w*\])?', text, re.S)
    kind = re.sub(r'\s+', ' ', found.group(1)).strip() + (' *' if found.group(3) else '')
    const = kind.startswith('const ')
    bare = re.sub(r'^const ', '', kind)
    bare = re.sub(r'^struct ', '', bare)
    if bare == 'tp_ctx *':
        return 'ctx', 'const ctx' if const else 'ctx'
    if bare == 'FILE *':
        return 'NULL', bare
    if bare.endswith('*'):
        if bare in ('char *', 'int64_t *') and not const:
            return 'NULL', bare
        return POINTERS.get(bare, 'NULL'), bare
    if bare.endswith('_fn'):
        return 'NULL', 'function'
    if bare == 'bool':
        return 'g->b', bare
    if bare in ('double', 'float'):
        return f'({bare})g->d', bare
    if bare in INTEGERS:
        return INTEGERS[bare], bare
    if bare in enums:
        return f'({bare})g->i', bare
    return f'({bare}){{ 0 }}', bare


def check(result, name, enums):
    """The C expression that is true for a result that says nothing, where r holds it."""
    bare = re.sub(r'^(const )?(struct )?', '', result).strip()
    if name in ANY_RESULT or bare == 'void':
        return None
    if name in MINUS_ONE:
        return 'r == -1'
    if bare.endswith('*'):
        return 'r == NULL'
    if bare == 'bool':
        return '!r'
    if bare in ('double', 'float'):
        return 'isnan(r)'
    if bare in INTEGERS or bare in enums:
        return 'r == 0'
    return None


def functions(root, headers, enums):
    for header in headers:
        code = csource.code(csource.read(root, header))
        for match in DECLARATION.finditer(code):
            text = re.sub(r'\bTP_PRINTF\([^)]*\)|__attribute__\s*\(\(.*?\)\)', '', match.group(1))
            text = re.sub(r'\s+', ' ', text).strip()
            found = re.match(r'(.*?)(\w+) ?\((.*)\)$', text)
            if found is None or text.startswith('extern'):
                continue
            result, name = found.group(1).strip(), found.group(2)
            arguments = [argument(a, enums) for a in split(found.group(3))]
            yield result, name, arguments


def call(result, name, arguments, enums):
    values = [a for a, _ in arguments]
    kinds = [k for _, k in arguments]
    if '...' in kinds:
        values[kinds.index('...') - 1] = '"%d"'
    test = check(result, name, enums)
    lines = [f'static bool call_{name}(tp_ctx *ctx, const given *g)', '{']
    if test is None:
        run = [f'    (void){name}({", ".join(values)});', '    return true;']
        lines += ['    (void)ctx;', '    (void)g;'] + run
    else:
        space = '' if result.endswith('*') else ' '
        lines += [f'    {result}{space}r = {name}({", ".join(values)});', '']
        lines += ['    (void)ctx;', '    (void)g;']
        if result in OWNED:
            lines += [f'    {OWNED[result]}(r);']
        lines += [f'    return {test};']
    return lines + ['}', '']


def entry(name, arguments):
    kinds = [k for _, k in arguments]
    flags = ['SWEEP_CTX' if 'ctx' in kinds else 'SWEEP_NO_CTX']
    if 'tp_tensor *' in kinds and name not in NULL_IS_FINE and 'ctx' in kinds:
        flags.append('SWEEP_NEEDS_TENSOR')
    return f'    {{ "{name}", call_{name}, {" | ".join(flags)} }},'


def main():
    root, output = sys.argv[1], sys.argv[2]
    headers = csource.public_headers(root)
    enums = set()
    for header in headers:
        code = csource.code(csource.read(root, header))
        enums.update(re.findall(r'typedef\s+enum\b[^{;]*\{[^}]*\}\s*(\w+)\s*;', code))
    lines = ['/* Written by tests/sweep.py. */', '#include "tapir.h"', '#include "tests/core/sweep.h"', '']
    lines += ['#include <math.h>', '']
    entries = []
    for result, name, arguments in functions(root, headers, enums):
        if name in BY_HAND:
            continue
        lines += call(result, name, arguments, enums)
        entries.append(entry(name, arguments))
    lines += ['const sweep_entry sweep_entries[] = {'] + entries + ['};', '']
    lines += ['const size_t sweep_count = sizeof sweep_entries / sizeof *sweep_entries;']
    with open(output, 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines) + '\n')
    if len(sys.argv) > 3:
        with open(sys.argv[3], 'w', encoding='utf-8') as f:
            f.write(f'{output}: ' + ' '.join(os.path.abspath(os.path.join(root, h)) for h in headers) + '\n')


if __name__ == '__main__':
    main()
