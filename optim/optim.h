/* optim.h - optimisers, schedules, data, the training loop: the headers of this room in reading order. */
#ifndef TP_OPTIM_H
#define TP_OPTIM_H

#include "optim/optimizer.h"
#include "optim/loader.h"
#include "optim/samples.h"
#include "optim/readers.h"
#include "optim/train.h"

#endif
