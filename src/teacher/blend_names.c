/* blend_names.c - modes of blends and weightings by name. */
#include <string.h>

#include "teacher/teacher_parts.h"

static const char *const modes[] = {"linear",     "log_linear", "max_confidence", "min_entropy", "min_cross_entropy",
                                    "stochastic", NULL};
static const char *const weightings[] = {"static", "entropy", "label", "learned", NULL};

static int32_t choice(const char *const *choices, const char *text)
{
    int32_t i = 0;
    while (choices[i + 1] && strcmp(choices[i], text)) i++;
    return i;
}

const char *di_blend_mode_name(di_blend_mode mode) { return modes[mode]; }

const char *di_weighting_name(di_weighting weighting) { return weightings[weighting]; }

di_blend_mode di_blend_mode_of(const char *name) { return (di_blend_mode)choice(modes, name); }

di_weighting di_weighting_of(const char *name) { return (di_weighting)choice(weightings, name); }
