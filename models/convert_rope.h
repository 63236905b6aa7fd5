/* convert_rope.h - Llama 3's rotary scaling, which GGUF keeps as a tensor, as settings of config.json.  Internal. */
#ifndef TPI_CONVERT_ROPE_H
#define TPI_CONVERT_ROPE_H

#include "models/conversion.h"
#include "nn/files/file_convert.h"

/* When f has rope_freqs.weight: finds the settings that give these factors, puts them into config.json, and leaves the
 * tensor out; warns where there are none. */
bool tpi_convert_rope(tp_ctx *ctx, tp_file *f, tpi_convert_opts *o) TPI_MUST_USE;

#endif
