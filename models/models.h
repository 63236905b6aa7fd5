/* models.h - models, tokenizers, text data, generation: the headers of this room in reading order. */
#ifndef TP_MODELS_H
#define TP_MODELS_H

#include "models/llama.h"
#include "models/text/tokenizer.h"
#include "models/text/template.h"
#include "models/text/data.h"
#include "models/generate.h"
#include "models/conversion.h"

#endif
