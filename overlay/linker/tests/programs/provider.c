/* Defines what user.c uses. */
#include "host.h"
u64 shared_state = 5;
u64 provide(u64 value) { return value * 2 + shared_state; }
