/* Calls back whoever calls it: the other half of `wild gate-recursion`. Load it before wild. */

void wild_bounce(void (*callback)(void));

/* Not a tail call, so that each level stays. */
static volatile unsigned long depth;

void wild_bounce(void (*callback)(void)) {
    depth = depth + 1;
    callback();
    depth = depth - 1;
}
