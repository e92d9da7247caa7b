// What the parts of the gullet need of each other.
#pragma once

#include "expand.h"

typedef struct Steps Steps;

extern const Step NOT_CARRIED_OUT, GIVE_UP;
Step step_to(Text new, i32 end);
bool read_arguments(Groups* groups, i32* at, i32 n_arguments, Text* arguments);
Step gullet_step(Expander* x, Groups* groups, i32 start, i32 end, i32 boundary, Steps* steps);

// ---------------------------------------------------------------- tests.c

Step test_step(Groups* groups, i32 end, Text name);  // `\test{what}{yes}{no}`
Step conditional_step(Expander* x, Groups* groups, i32 start, i32 boundary);  // \if... \else ... \fi
