/*
 * disk_bulk.c - large reads: copying from the page cache into fresh memory is work enough for several threads, and the
 * hash follows piece by piece while they are in the cache.  Large writes: the disk begins before the last.
 */
#include "nn/files/disk.h"

#include <fcntl.h>
#include <stdatomic.h>

enum {
    PIECE = 2 << 20,  /* a huge page: two threads that touch one would both clear it */
    ALONE = 4 << 20,  /* bytes that one thread reads */
    AHEAD = 64 << 20, /* bytes behind these that will be wanted soon */
    MOST_THREADS = 4
};

static int threads_for(tp_ctx *ctx, size_t n)
{
    int t = n < ALONE ? 1 : tp_threads(ctx);

    return t < 1 ? 1 : t > MOST_THREADS ? MOST_THREADS : t;
}

bool tpi_disk_read_hashed(tp_ctx *ctx, tpi_disk *d, int64_t offset, char *p, size_t n, tpi_hasher *h)
{
    int64_t    pieces = (int64_t)((n + PIECE - 1) / PIECE);
    int        threads = threads_for(ctx, n);
    atomic_int code = 0;

    if (!tpi_disk_wake(ctx, d))
        return false;
    if (n >= PIECE)
        (void)posix_fadvise(d->fd, (off_t)offset, (off_t)n + AHEAD, POSIX_FADV_WILLNEED);
#pragma omp parallel for ordered schedule(static, 1) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < pieces; i++) {
        size_t at = (size_t)i * PIECE, size = n - at < PIECE ? n - at : PIECE;
        int    bad = atomic_load(&code) ? 0 : tpi_disk_try(d, offset + (int64_t)at, p + at, size);

        if (bad)
            atomic_store(&code, bad);
#pragma omp ordered
        if (!atomic_load(&code))
            tpi_hash_add(h, p + at, size);
    }
    return tpi_disk_told(ctx, d, atomic_load(&code));
}

void tpi_save_wrote(tpi_save *s, size_t n)
{
    s->waiting += n;
    if (s->waiting < TPI_SAVE_AT_ONCE)
        return;
    s->waiting = 0;
    (void)sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* only sooner: the fsync that counts comes later */
}
