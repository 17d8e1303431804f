/* clock.h - a clock that only goes forward. */
#ifndef DK_BASE_CLOCK_H
#define DK_BASE_CLOCK_H

double dk_seconds(void); /* monotonic */

#endif
