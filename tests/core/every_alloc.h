/* every_alloc.h - runs a program again and again, each time with another allocation of Tapir's that fails. */
#ifndef EVERY_ALLOC_H
#define EVERY_ALLOC_H

#include "own_ops.h"

#include "core/internal.h"

#include <stdio.h>
#include <unistd.h>

/* What has been written to the file since the last call; returns the number of lines. */
static inline int complaints(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    int     lines = 0;

    assert_true(n >= 0);
    text[n] = '\0';
    for (char *p = text; *p != '\0'; p++)
        lines += *p == '\n';
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_true(lseek(fd, 0, SEEK_SET) == 0);
    return lines;
}

/* program prints an error and returns 1, as tp_ctx_finish does; *result is what it computes.  One error, and no leak
 * (the leak checker looks); it may succeed only where it can do without (the pool's cache, PCRE2's JIT), and then with
 * the same result. */
static inline void fail_each(int (*program)(double *result))
{
    FILE  *log = tmpfile();
    int    was = dup(2), fine = 0;
    double want = 0, got;
    char   text[4096];
    long   n;

    assert_true(log != NULL && was >= 0);
    tpi_fail_alloc(-1, false);
    assert_int_equal(program(&want), 0);
    n = tpi_count_alloc();
    assert_true(n > 20);
    for (long i = 0; i < 2 * n; i++) {
        int rc, lines;

        assert_true(dup2(fileno(log), 2) >= 0);
        got = 0;
        tpi_fail_alloc(i % n, i >= n);
        rc = program(&got);
        tpi_fail_alloc(-1, false);
        assert_true(dup2(was, 2) >= 0);
        lines = complaints(fileno(log), text, sizeof text);
        if (lines != rc || (rc == 1 && strncmp(text, "tapir: ", 7) != 0) ||
            (rc == 1 && strstr(text, "out of memory") == NULL))
            fail_msg("allocation %ld of %ld: exit %d, %s", i % n, n, rc, text);
        if (rc == 0) {
            assert_true(i < n && got == want);
            fine++;
        }
    }
    assert_true(fine < n / 2);
    close(was);
    fclose(log);
}

#endif
