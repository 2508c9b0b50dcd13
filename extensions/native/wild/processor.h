/* Instructions that fault, or that are not for everybody. */
#ifndef WILD_PROCESSOR_H
#define WILD_PROCESSOR_H

#include "wild.h"

/* Port for codes of the start-up self test; nothing depends on it. */
#define HARMLESS_PORT 0x80

static void divide_zero(const char *target) {
    wild_result = opaque(100) / target_or(target, opaque(0));
}

static void invalid_opcode(const char *target) {
    (void)target;
    __asm__ volatile("ud2");
}

static void breakpoint(const char *target) {
    (void)target;
    __asm__ volatile("int3");
}

/* Zero divided by zero with the invalid-operation exception enabled. QEMU's translator raises none and lets it come back. */
static void simd_exception(const char *target) {
    uint32_t control = 0;
    (void)target;
    __asm__ volatile("ldmxcsr %0\n\txorps %%xmm0, %%xmm0\n\tdivss %%xmm0, %%xmm0" : : "m"(control) : "xmm0");
}

/* Single steps from here on. The stack is moved down first: locals may lie below its pointer. */
static void trap_flag(const char *target) {
    (void)target;
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tlea 128(%%rsp), %%rsp"
                     :
                     :
                     : "cc", "memory");
}

static void interrupts_off_return(const char *target) {
    (void)target;
    __asm__ volatile("cli" : : : "memory");
}

static void interrupts_off_loop(const char *target) {
    (void)target;
    __asm__ volatile("cli" : : : "memory");
    for (;;) wild_result = wild_result + 1;
}

static void interrupts_off_halt(const char *target) {
    (void)target;
    __asm__ volatile("cli" : : : "memory");
    for (;;) __asm__ volatile("hlt" : : : "memory");
}

static void halt(const char *target) {
    (void)target;
    for (;;) __asm__ volatile("hlt" : : : "memory");
}

static void port_write(const char *target) {
    uint8_t value = 0;
    uint16_t port = (uint16_t)target_or(target, HARMLESS_PORT);
    __asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static void system_call(const char *target) {
    uint64_t number = target_or(target, 0);
    __asm__ volatile("syscall" : "+a"(number) : : "rcx", "r11", "memory");
}

#endif
