/* backends.c - the one file that names every backend, best first within a device. */
#include "core/backend.h"

#if defined(__x86_64__)
extern const tpi_backend tpi_backend_avx512, tpi_backend_avx2;
#endif
extern const tpi_backend tpi_backend_portable, tpi_backend_ref;

const tpi_backend *const tpi_backends[] = {
#if defined(__x86_64__)
    &tpi_backend_avx512,
    &tpi_backend_avx2,
#endif
    &tpi_backend_portable,
    &tpi_backend_ref,
    NULL,
};
