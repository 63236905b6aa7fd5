/* x */
#include "ops/cpu/onednn_conv.h"
bool tpi_dnnl_conv_takes(const tpi_window *c, tpi_conv_part part){(void)c;(void)part;return false;}
size_t tpi_dnnl_conv_space(const tpi_window *c, tpi_conv_part part, int threads){(void)c;(void)part;(void)threads;return 0;}
tp_code tpi_dnnl_conv(const tpi_window *c, tpi_conv_part part, int threads, const tpi_conv_operands *o, void *scratch){(void)c;(void)part;(void)threads;(void)o;(void)scratch;return TP_EDTYPE;}
