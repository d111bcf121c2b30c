// What Trine refuses, and numbers that are no calls.
#include "calls.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>

void run(void) {
    long context = 0;
    char params[256] = {0};
    CALL("io_setup", SYS_io_setup, 5, &context);
    CALL("io_destroy", SYS_io_destroy, 0L);
    CALL("io_submit", SYS_io_submit, 0L, 0L, NULL);
    CALL("io_cancel", SYS_io_cancel, 0L, NULL, NULL);
    CALL("io_getevents", SYS_io_getevents, 0L, 0L, 0L, NULL, NULL);
    CALL("io_pgetevents", SYS_io_pgetevents, 0L, 0L, 0L, NULL, NULL, NULL);
    CALL("io_uring_setup", SYS_io_uring_setup, 4, params);
    CALL("io_uring_enter", SYS_io_uring_enter, NOFD, 0, 0, 0, NULL, 0L);
    CALL("io_uring_register", SYS_io_uring_register, NOFD, 0, NULL, 0);
    CALL("rseq", SYS_rseq, params, 32, 0, 0x1234);
    CALL("seccomp filter", SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, params);
    CALL("seccomp available action", SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(unsigned){SECCOMP_RET_KILL_PROCESS});
    CALL("seccomp sizes", SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, params);
#ifdef __riscv
    CALL("prctl set seccomp", SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0L, 0L, 0L);
#endif
    CALL("prctl get seccomp", SYS_prctl, PR_GET_SECCOMP, 0L, 0L, 0L, 0L);
    CALL("ptrace", SYS_ptrace, 0, 0, NULL, NULL);
    CALL("perf_event_open", SYS_perf_event_open, params, 0, -1, -1, 0L);
    CALL("bpf", SYS_bpf, 0, params, 0);
    CALL("userfaultfd", SYS_userfaultfd, 0);
    CALL("kexec_load", SYS_kexec_load, 0L, 0L, NULL, 0L);
    CALL("init_module", SYS_init_module, params, 0L, "");
    CALL("finit_module", SYS_finit_module, NOFD, "", 0);
    CALL("delete_module", SYS_delete_module, "nothing", 0);
    CALL("reboot", SYS_reboot, 0, 0, 0, NULL);
    CALL("map_shadow_stack", 453, 0L, 4096L, 0);
    CALL("syscall no call", 1000);
    CALL("syscall huge", 1L << 40);
#ifdef __riscv
    CALL("syscall lookup_dcookie", 18, 0L, params, 10L);
    CALL("syscall renameat", 38, AT_FDCWD, "a", AT_FDCWD, "b");
    CALL("syscall nfsservctl", 42, 0, NULL, NULL);
    CALL("syscall hole", 250);
#endif
    CALL("add_key type", SYS_add_key, "nosuchtype", "x", "y", 1L, -1);
    CALL("request_key type", SYS_request_key, "nosuchtype", "x", NULL, 0);
    CALL("keyctl operation", SYS_keyctl, 9999, 0L, 0L, 0L, 0L);
    CALL("lsm_get_self_attr", 459, 100, params, BAD, 0);
    CALL("lsm_set_self_attr", 460, 100, params, 3, 0);
    CALL("lsm_list_modules", 461, params, BAD, 0);
    CALL("landlock_create_ruleset", SYS_landlock_create_ruleset, params, 0L, 7);
    CALL("landlock_add_rule", SYS_landlock_add_rule, NOFD, 1, params, 0);
    CALL("landlock_restrict_self", SYS_landlock_restrict_self, NOFD, 0);
}
