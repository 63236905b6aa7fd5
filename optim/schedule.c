/* schedule.c - how the learning rate changes over a run. */
#include "optim/optimizer.h"

#include <math.h>

double tp_schedule_factor(const tp_schedule *schedule, int64_t step)
{
    double done, left;

    if (schedule == NULL)
        return 1;
    if (schedule->fn != NULL)
        return schedule->fn(schedule->user, step);
    if (step < schedule->warmup)
        return (double)(step + 1) / (double)schedule->warmup;
    left = (double)(schedule->steps - schedule->warmup);
    done = left > 0 ? (double)(step - schedule->warmup) / left : schedule->steps > 0 ? 1 : 0;
    done = done > 1 ? 1 : done;
    switch (schedule->decay) {
    case TP_LINEAR: return 1 - done;
    case TP_COSINE: return 0.5 * (1 + cos(3.14159265358979323846 * done));
    case TP_CONSTANT: return 1;
    }
    return 1;
}
