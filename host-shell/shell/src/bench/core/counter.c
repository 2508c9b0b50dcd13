/* A plugin for QEMU's translator that counts the guest's instructions exactly.
 *
 * Arguments:
 *     out=FILE       where the counts go
 *     head=ADDRESS   an instruction that runs once per round
 *     from=N, to=N   the rounds between which is counted; from=0 counts from the first instruction of all
 *     wait=FILE      rounds are numbered from when this file exists
 *     range=LOW-HIGH addresses to count separately; may be given several times
 *
 * At the end of the last round it writes one line, `TOTAL RANGE...`, and ends QEMU.
 *
 * The declarations are those of QEMU's plugin interface, version 1 (docs/devel/tcg-plugins.rst), as far as they are
 * needed; distributions ship no header for it. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum { INLINE_ADD_U64 = 0 };
enum { NO_REGISTERS = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { RANGES_MAX = 64, WAIT_ROUNDS = 64 };
static struct { uint64_t low, high, count, start; } ranges[RANGES_MAX];
static unsigned ranges_used;
static uint64_t total, total_start, head, from, to, rounds;
static const char *out, *wait_for;

static void begin(void)
{
    total_start = total;
    for (unsigned i = 0; i < ranges_used; i++)
        ranges[i].start = ranges[i].count;
}

static void finish(void)
{
    FILE *file = fopen(out, "w");
    if (!file)
        _exit(1);
    fprintf(file, "%" PRIu64, total - total_start);
    for (unsigned i = 0; i < ranges_used; i++)
        fprintf(file, " %" PRIu64, ranges[i].count - ranges[i].start);
    fputc('\n', file);
    _exit(fclose(file) ? 1 : 0);
}

static void on_head(unsigned cpu, void *data)
{
    (void)cpu, (void)data;
    if (wait_for) {
        static unsigned skipped;
        if (skipped++ % WAIT_ROUNDS || access(wait_for, F_OK))
            return;
        wait_for = NULL;
    }
    rounds++;
    if (rounds == from)
        begin();
    if (rounds == to)
        finish();
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint64_t address = qemu_plugin_insn_vaddr(instruction);
        if (address == head)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_head, NO_REGISTERS, NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, INLINE_ADD_U64, &total, 1);
        for (unsigned r = 0; r < ranges_used; r++)
            if (address >= ranges[r].low && address < ranges[r].high)
                qemu_plugin_register_vcpu_insn_exec_inline(instruction, INLINE_ADD_U64, &ranges[r].count, 1);
    }
}

static bool argument(const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return false;
    const char *value = equals + 1;
    size_t length = (size_t)(equals - text);
#define IS(name) (length == sizeof name - 1 && !memcmp(text, name, length))
    if (IS("out")) {
        out = strdup(value);
    } else if (IS("wait")) {
        wait_for = strdup(value);
    } else if (IS("head")) {
        head = strtoull(value, NULL, 0);
    } else if (IS("from")) {
        from = strtoull(value, NULL, 0);
    } else if (IS("to")) {
        to = strtoull(value, NULL, 0);
    } else if (IS("range") && ranges_used < RANGES_MAX) {
        char *dash;
        ranges[ranges_used].low = strtoull(value, &dash, 0);
        ranges[ranges_used].high = *dash == '-' ? strtoull(dash + 1, NULL, 0) : 0;
        ranges_used++;
    } else {
        return false;
    }
    return true;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int count, char **arguments)
{
    (void)info;
    for (int i = 0; i < count; i++) {
        if (!argument(arguments[i])) {
            fprintf(stderr, "counter: %s?\n", arguments[i]);
            return 1;
        }
    }
    if (!out || !head || !to)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
