// A paper and what cleaning did to it.
#pragma once

#include "expand.h"
#include "passes.h"

typedef struct {
    Text text;
    Text names_left;                               // the five macros that stay most often, one a line
    i64 removed[N_CAUSES];                         // bytes by cause
    const Expander* expander;                      // counts the uses of macros
} Cleaned;

Cleaned clean_document(Text text, const Options* options);
