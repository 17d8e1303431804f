#include "simd_cases.h"
