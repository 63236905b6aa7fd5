/*
 * print_number.h - numbers as numpy writes them: as few digits as tell a value from its neighbours of the same dtype, at
 * most eight behind the point within an array.  Internal.
 */
#ifndef TPI_PRINT_NUMBER_H
#define TPI_PRINT_NUMBER_H

#include "core/core.h"

/* What the values of one array have in common, so that their columns stand under each other. */
typedef struct {
    tp_dtype t;
    double   low, high;   /* of what is finite and not zero, without signs; high 0: there is none */
    int      other;       /* columns of what is not finite */
    bool     exponent;    /* 1.e+08 */
    int      left, right; /* columns before the point, behind it; of an integer, before alone */
    int      digits;      /* behind the point, with an exponent */
    int      exp_digits;
} tpi_columns;

enum { TPI_NUMBER = 64 }; /* bytes that are enough for one */

/* Two passes over the values: the first sees their range, the second their widths.  Both are needed for floats. */
void tpi_columns_range(tpi_columns *c, double v);
void tpi_columns_fit(tpi_columns *c, double v);
void tpi_columns_fit_int(tpi_columns *c, int64_t v);
/* Between the two passes, and after both. */
void tpi_columns_choose(tpi_columns *c);
void tpi_columns_finish(tpi_columns *c);
/* A value within its columns. */
void tpi_number_text(const tpi_columns *c, double v, char out[TPI_NUMBER]);
/* A value that stands alone. */
void tpi_number_alone(tp_dtype t, double v, char out[TPI_NUMBER]);

#endif
