/* test_random.c - Philox against the published answers, and which numbers a seed, a step and a call give. */
#include "own_ops.h"

#include "core/internal.h"
#include "core/philox.h"

/* Known answers of the generator's authors (Random123, kat_vectors). */
static void known_answers(void **state)
{
    static const struct { uint32_t c[4], k[2], want[4];
    } cases[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };

    (void)state;
    for (int i = 0; i < 3; i++) {
        tpi_key  key = { { cases[i].k[0], cases[i].k[1] }, { cases[i].c[2], cases[i].c[3] } };
        uint32_t w[4];

        tpi_philox(key, cases[i].c[0] | (uint64_t)cases[i].c[1] << 32, w);
        assert_memory_equal(w, cases[i].want, sizeof w);
    }
}

static void ranges(void **state)
{
    double sum = 0, squares = 0;

    (void)state;
    assert_true(tpi_uniform(0) == 0.0f);
    assert_true(tpi_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t w[4];
        double   z[2];

        tpi_philox((tpi_key){ { 1, 2 }, { 3, 4 } }, i, w);
        tpi_normal2(w[0], w[1], z);
        assert_true(isfinite(z[0]) && isfinite(z[1]));
        sum += z[0] + z[1];
        squares += z[0] * z[0] + z[1] * z[1];
    }
    assert_true(fabs(sum / 10000) < 0.04 && fabs(squares / 10000 - 1) < 0.05);
    tpi_normal2(0, 0, (double[2]){ 0 });
}

static bool same(tpi_key a, tpi_key b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* A seed and a step are all the state there is. */
static void keys(void **state)
{
    tp_ctx *ctx = own_ctx(), *other = own_ctx();
    tpi_key k[64];
    int     n = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 2; seed++)
        for (uint64_t step = 0; step < 3; step++)
            for (uint32_t purpose = 0; purpose < 2; purpose++) {
                tp_seed(ctx, seed ? (uint64_t)1 << 40 : 5);
                tp_set_step(ctx, step == 2 ? (uint64_t)1 << 35 : step);
                for (int call = 0; call < 3; call++)
                    k[n++] = tpi_next_key(ctx, purpose);
            }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            assert_false(same(k[i], k[j]));
    tp_seed(other, 5); /* begins step 0 */
    assert_true(same(tpi_next_key(other, 0), k[0]));
    assert_true(same(tpi_next_key(other, 0), k[1]));
    tp_set_step(other, 1);
    assert_true(same(tpi_next_key(other, 0), k[6]));
    tp_seed(NULL, 1);
    tp_set_step(NULL, 1);
    tp_ctx_free(other);
    tp_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(known_answers), cmocka_unit_test(ranges),
                                        cmocka_unit_test(keys) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
