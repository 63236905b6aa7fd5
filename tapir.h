/*
 * tapir.h - the whole library.  The headers stand in the order in which they are best read.
 */
#ifndef TAPIR_H
#define TAPIR_H

#include "core/core.h"     /* contexts, errors, scopes, tensors, the tape */
#include "ops/ops.h"       /* what can be computed: a header per family of ops */
#include "nn/nn.h"         /* modules, layers, the chain of adapters, state, files */
#include "optim/optim.h"   /* optimisers, schedules, data sets, the training loop */
#include "models/models.h" /* Llama and relatives, tokenizers, text data, generation */
#include "peft/peft.h"     /* DiaBlo, LoRA: attach, merge, save */

#endif
