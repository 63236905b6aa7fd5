/* svg.h - the picture of a run's losses. */
#ifndef SVG_H
#define SVG_H

#include <stdbool.h>
#include <stddef.h>

/* loss: of steps 1 to n; valid: m pairs of step and loss.  False when the file cannot be written. */
bool svg_losses(const char *path, const double *loss, size_t n, const double *valid, size_t m);

#endif
