// System V messages, semaphores and shared memory; POSIX message queues.
#include "calls.h"
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void messages(void) {
    struct { long type; char text[16]; } m = {2, "second"}, n = {1, "first"}, r;
    int q = syscall(SYS_msgget, IPC_PRIVATE, 0600);
    SHOW("msgget", "%d", q >= 0);
    CALL("msgget missing", SYS_msgget, 0x7453e9, 0);
    CALL("msgsnd", SYS_msgsnd, q, &m, 7L, 0);
    CALL("msgsnd another", SYS_msgsnd, q, &n, 6L, 0);
    struct msqid_ds d;
    memset(&d, 0x55, sizeof d);
    CALL("msgctl IPC_STAT", SYS_msgctl, q, IPC_STAT, &d);
    SHOW("msgctl IPC_STAT is", "%ld %ld %o %d %d", (long)d.msg_qnum, (long)d.__msg_cbytes, d.msg_perm.mode, d.msg_lspid == getpid(), d.msg_perm.uid == getuid());
    CALL("msgrcv type", SYS_msgrcv, q, &r, 16L, 1L, 0);
    SHOW("msgrcv type is", "%ld %s", r.type, r.text);
    CALL("msgrcv too small", SYS_msgrcv, q, &r, 2L, 0L, 0);
    CALL("msgrcv truncated", SYS_msgrcv, q, &r, 3L, 0L, MSG_NOERROR);
    CALL("msgrcv nothing", SYS_msgrcv, q, &r, 16L, 0L, IPC_NOWAIT);
    CALL("msgrcv bad queue", SYS_msgrcv, -1, &r, 16L, 0L, 0);
    m.type = 0;
    CALL("msgsnd type", SYS_msgsnd, q, &m, 7L, 0);
    CALL("msgsnd bad pointer", SYS_msgsnd, q, BAD, 7L, 0);
    CALL("msgctl IPC_STAT bad pointer", SYS_msgctl, q, IPC_STAT, BAD);
    d.msg_perm.mode = 0640;
    CALL("msgctl IPC_SET", SYS_msgctl, q, IPC_SET, &d);
    CALL("msgctl command", SYS_msgctl, q, 999, &d);
    CALL("msgctl IPC_RMID", SYS_msgctl, q, IPC_RMID, NULL);
    CALL("msgctl IPC_RMID again", SYS_msgctl, q, IPC_RMID, NULL);
}

static void semaphores(void) {
    int s = syscall(SYS_semget, IPC_PRIVATE, 3, 0600);
    SHOW("semget", "%d", s >= 0);
    CALL("semget number", SYS_semget, IPC_PRIVATE, -1, 0600);
    CALL("semctl SETVAL", SYS_semctl, s, 1, SETVAL, 5L);
    CALL("semctl GETVAL", SYS_semctl, s, 1, GETVAL, 0L);
    unsigned short all[3] = {7, 8, 9}, got[3] = {0};
    CALL("semctl SETALL", SYS_semctl, s, 0, SETALL, all);
    CALL("semctl GETALL", SYS_semctl, s, 0, GETALL, got);
    SHOW("semctl GETALL is", "%d %d %d", got[0], got[1], got[2]);
    struct sembuf op[2] = {{0, -3, 0}, {2, 1, 0}}, wait = {0, -100, IPC_NOWAIT}, block = {0, -100, 0};
    CALL("semop", SYS_semop, s, op, 2L);
    CALL("semop would block", SYS_semop, s, &wait, 1L);
    CALL("semop none", SYS_semop, s, op, 0L);
    CALL("semop bad pointer", SYS_semop, s, BAD, 1L);
    wait.sem_num = 77;
    CALL("semop number", SYS_semop, s, &wait, 1L);
    CALL("semtimedop", SYS_semtimedop, s, &block, 1L, &(struct timespec){0, 10000000});
    CALL("semtimedop bad time", SYS_semtimedop, s, &block, 1L, &(struct timespec){0, -1});
    SHOW("semctl GETPID", "%d", (int)syscall(SYS_semctl, s, 0, GETPID, 0L) == getpid());
    struct semid_ds d;
    memset(&d, 0, sizeof d);
    CALL("semctl IPC_STAT", SYS_semctl, s, 0, IPC_STAT, &d);
    SHOW("semctl IPC_STAT is", "%ld %o %d %d", (long)d.sem_nsems, d.sem_perm.mode, d.sem_otime > 0, labs(d.sem_ctime - time(NULL)) < 100);
    CALL("semctl IPC_STAT bad pointer", SYS_semctl, s, 0, IPC_STAT, BAD);
    d.sem_perm.mode = 0640;
    CALL("semctl IPC_SET", SYS_semctl, s, 0, IPC_SET, &d);
    memset(&d, 0, sizeof d);
    syscall(SYS_semctl, s, 0, IPC_STAT, &d);
    SHOW("semctl IPC_SET is", "%o", d.sem_perm.mode);
    CALL("semctl command", SYS_semctl, s, 0, 999, 0L);
    CALL("semctl value", SYS_semctl, s, 0, SETVAL, 100000L);
    CALL("semctl IPC_RMID", SYS_semctl, s, 0, IPC_RMID, 0L);
    CALL("semctl IPC_RMID again", SYS_semctl, s, 0, IPC_RMID, 0L);
}

static void shared(void) {
    int s = syscall(SYS_shmget, IPC_PRIVATE, 10000L, 0600);
    SHOW("shmget", "%d", s >= 0);
    CALL("shmget no size", SYS_shmget, IPC_PRIVATE, 0L, 0600);
    char *a = (char *)syscall(SYS_shmat, s, NULL, 0);
    SHOW("shmat", "%d", a != (char *)-1 && ((long)a & 4095) == 0);
    strcpy(a + 9000, "shared");
    char *b = (char *)syscall(SYS_shmat, s, NULL, SHM_RDONLY);
    SHOW("shmat again", "%d %s", b != a, b + 9000);
    fflush(stdout);
    if (fork() == 0) {
        strcpy(a + 9000, "by the child");
        _exit(0);
    }
    wait(NULL);
    SHOW("shmat child", "%s", b + 9000);
    struct shmid_ds d;
    memset(&d, 0x55, sizeof d);
    CALL("shmctl IPC_STAT", SYS_shmctl, s, IPC_STAT, &d);
    SHOW("shmctl IPC_STAT is", "%ld %ld %o %d", (long)d.shm_segsz, (long)d.shm_nattch, d.shm_perm.mode, d.shm_cpid == getpid());
    CALL("shmctl IPC_STAT bad pointer", SYS_shmctl, s, IPC_STAT, BAD);
    CALL("shmctl command", SYS_shmctl, s, 999, &d);
    CALL("shmat unaligned", SYS_shmat, s, a + 5, 0);
    CALL("shmat occupied", SYS_shmat, s, a, 0);
    CALL("shmat bad segment", SYS_shmat, -1, NULL, 0);
    CALL("shmdt", SYS_shmdt, b);
    CALL("shmdt again", SYS_shmdt, b);
    SHOW("shmat at an address", "%d", (char *)syscall(SYS_shmat, s, b + 5, SHM_RND) == b);
    SHOW("shmat over another", "%d", (char *)syscall(SYS_shmat, s, b, SHM_REMAP) == b);
    CALL("shmctl IPC_RMID", SYS_shmctl, s, IPC_RMID, NULL);
    SHOW("shmat still there", "%s", a + 9000);
    CALL("shmdt last", SYS_shmdt, a);
    CALL("shmdt last of all", SYS_shmdt, b);
    CALL("shmctl gone", SYS_shmctl, s, IPC_STAT, &d);
}

static volatile int told;
static void tell(int s, siginfo_t *i, void *c) { (void)s, (void)c; told = i->si_code * 1000 + i->si_value.sival_int; }

static void queues(void) {
    char name[32];
    snprintf(name, sizeof name, "trine-calls-%d", getpid());
    struct mq_attr a = {.mq_maxmsg = 4, .mq_msgsize = 16}, b;
    int q = syscall(SYS_mq_open, name, O_CREAT | O_EXCL | O_RDWR, 0600, &a);
    SHOW("mq_open", "%d", q >= 0);
    CALL("mq_open exists", SYS_mq_open, name, O_CREAT | O_EXCL | O_RDWR, 0600, &a);
    CALL("mq_open missing", SYS_mq_open, "trine-missing", O_RDWR, 0, NULL);
    CALL("mq_open slash", SYS_mq_open, "a/b", O_RDWR, 0, NULL);
    CALL("mq_open bad pointer", SYS_mq_open, BAD, O_RDWR, 0, NULL);
    CALL("mq_getsetattr", SYS_mq_getsetattr, q, NULL, &b);
    SHOW("mq_getsetattr is", "%ld %ld %ld", b.mq_maxmsg, b.mq_msgsize, b.mq_curmsgs);
    CALL("mq_getsetattr bad descriptor", SYS_mq_getsetattr, 0, NULL, &b);
    struct sigaction s = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &s, NULL);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 5};
    CALL("mq_notify", SYS_mq_notify, q, &e);
    CALL("mq_notify again", SYS_mq_notify, q, &e);
    CALL("mq_timedsend", SYS_mq_timedsend, q, "low", 3L, 1, NULL);
    SHOW("mq_notify told", "%d", told);
    CALL("mq_timedsend another", SYS_mq_timedsend, q, "high", 4L, 9, NULL);
    CALL("mq_timedsend too long", SYS_mq_timedsend, q, "x", 17L, 0, NULL);
    CALL("mq_timedsend bad pointer", SYS_mq_timedsend, q, BAD, 5L, 0, NULL);
    char buf[16] = {0};
    unsigned priority = 0;
    CALL("mq_timedreceive", SYS_mq_timedreceive, q, buf, 16L, &priority, NULL);
    SHOW("mq_timedreceive is", "%s %u", buf, priority);
    CALL("mq_timedreceive small", SYS_mq_timedreceive, q, buf, 3L, &priority, NULL);
    CALL("mq_timedreceive last", SYS_mq_timedreceive, q, buf, 16L, NULL, NULL);
    CALL("mq_timedreceive time out", SYS_mq_timedreceive, q, buf, 16L, NULL, &(struct timespec){1, 0});
    CALL("mq_timedreceive bad time", SYS_mq_timedreceive, q, buf, 16L, NULL, &(struct timespec){1, -1});
    CALL("mq_unlink", SYS_mq_unlink, name);
    CALL("mq_unlink again", SYS_mq_unlink, name);
}

void run(void) {
    messages();
    semaphores();
    shared();
    queues();
}
