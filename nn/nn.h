/* nn.h - modules, layers, adapters, files: the headers of this room in reading order. */
#ifndef TP_NN_H
#define TP_NN_H

#include "nn/module.h"
#include "nn/adapter.h"
#include "nn/layers.h"
#include "nn/nets.h"
#include "nn/files/files.h"
#include "nn/state.h"

#endif
