// Sockets on the loopback interface and between processes: addresses, messages, rights, options.
#include "calls.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static void pairs(void) {
    int s[2], none[2];
    char buf[16] = {0};
    CALL("socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s);
    CALL("socketpair family", SYS_socketpair, 99, SOCK_STREAM, 0, none);
    CALL("socketpair bad pointer", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, BAD);
    CALL("sendto", SYS_sendto, s[0], "hello", 5L, 0, NULL, 0);
    CALL("recvfrom peek", SYS_recvfrom, s[1], buf, 3L, MSG_PEEK, NULL, NULL);
    CALL("recvfrom", SYS_recvfrom, s[1], buf, 16L, 0, NULL, NULL);
    SHOW("recvfrom what", "%s", buf);
    CALL("recvfrom nothing", SYS_recvfrom, s[1], buf, 16L, MSG_DONTWAIT, NULL, NULL);
    CALL("recvfrom bad pointer", SYS_recvfrom, s[1], BAD, 16L, MSG_DONTWAIT, NULL, NULL);
    CALL("sendto bad pointer", SYS_sendto, s[0], BAD, 16L, 0, NULL, 0);
    CALL("sendto no socket", SYS_sendto, 0, "x", 1L, 0, NULL, 0);
    CALL("sendto bad descriptor", SYS_sendto, NOFD, "x", 1L, 0, NULL, 0);
    CALL("shutdown", SYS_shutdown, s[0], SHUT_WR);
    CALL("recvfrom end", SYS_recvfrom, s[1], buf, 16L, 0, NULL, NULL);
    CALL("shutdown how", SYS_shutdown, s[0], 9);
    CALL("shutdown no socket", SYS_shutdown, 0, SHUT_WR);
    CALL("sendto after shutdown", SYS_sendto, s[0], "x", 1L, MSG_NOSIGNAL, NULL, 0);
}

static void messages(void) {
    int s[2], one = 1;
    socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
    setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    char a[8] = "ab", b[8] = "cde", control[256] __attribute__((aligned(8))) = {0};
    struct iovec v[2] = {{a, 2}, {b, 3}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2, .msg_control = control, .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    put_file("passed", "through");
    int fds[2] = {open("passed", O_RDONLY), open("passed", O_RDONLY)};
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    CALL("sendmsg rights", SYS_sendmsg, s[0], &m, 0);
    memset(a, 0, 8), memset(b, 0, 8), memset(control, 0, sizeof control);
    v[0].iov_len = 4, v[1].iov_len = 8, m.msg_controllen = sizeof control;
    CALL("recvmsg", SYS_recvmsg, s[1], &m, MSG_CMSG_CLOEXEC);
    SHOW("recvmsg what", "%.4s %s %#x", a, b, m.msg_flags & ~MSG_CMSG_CLOEXEC);
    for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_type == SCM_RIGHTS) {
            char text[8] = {0};
            int got[2];
            memcpy(got, CMSG_DATA(c), sizeof got);
            read(got[0], text, 7);
            SHOW("recvmsg rights", "%ld %s %d", (long)c->cmsg_len, text, fcntl(got[1], F_GETFD));
        } else if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred u;
            memcpy(&u, CMSG_DATA(c), sizeof u);
            SHOW("recvmsg credentials", "%ld %d %d %d", (long)c->cmsg_len, u.pid == getpid(), u.uid == getuid(), u.gid == getgid());
        }
    }
    m.msg_control = NULL, m.msg_controllen = 0;
    v[0].iov_len = 2, v[1].iov_len = 3;
    CALL("sendmsg", SYS_sendmsg, s[0], &m, 0);
    v[0].iov_len = 2, v[1].iov_len = 0;
    CALL("recvmsg truncated", SYS_recvmsg, s[1], &m, MSG_TRUNC);
    SHOW("recvmsg truncated flags", "%#x", m.msg_flags);
    CALL("sendmsg bad pointer", SYS_sendmsg, s[0], BAD, 0);
    CALL("recvmsg bad pointer", SYS_recvmsg, s[1], BAD, MSG_DONTWAIT);
    CALL("recvmsg nothing", SYS_recvmsg, s[1], &m, MSG_DONTWAIT);
    m.msg_iovlen = 2000;
    CALL("sendmsg too many parts", SYS_sendmsg, s[0], &m, 0);
    struct iovec p[3] = {{"one", 3}, {"two!", 4}, {"three", 5}};
    struct mmsghdr out[3] = {{{.msg_iov = &p[0], .msg_iovlen = 1}}, {{.msg_iov = &p[1], .msg_iovlen = 1}}, {{.msg_iov = &p[2], .msg_iovlen = 1}}};
    CALL("sendmmsg", SYS_sendmmsg, s[0], out, 3u, 0);
    SHOW("sendmmsg lengths", "%u %u %u", out[0].msg_len, out[1].msg_len, out[2].msg_len);
    char r[4][8] = {{0}};
    struct iovec q[4] = {{r[0], 8}, {r[1], 8}, {r[2], 8}, {r[3], 8}};
    struct mmsghdr in[4];
    memset(in, 0, sizeof in);
    for (int i = 0; i < 4; i++) in[i].msg_hdr.msg_iov = &q[i], in[i].msg_hdr.msg_iovlen = 1;
    struct timespec t = {0, 50000000};
    CALL("recvmmsg", SYS_recvmmsg, s[1], in, 4u, MSG_DONTWAIT, &t);
    SHOW("recvmmsg what", "%s %s %s %u", r[0], r[1], r[2], in[1].msg_len);
    CALL("recvmmsg nothing", SYS_recvmmsg, s[1], in, 4u, MSG_DONTWAIT, NULL);
    CALL("recvmmsg bad time", SYS_recvmmsg, s[1], in, 4u, MSG_DONTWAIT, &(struct timespec){0, -1});
    CALL("sendmmsg bad pointer", SYS_sendmmsg, s[0], BAD, 3u, 0);
}

static void loopback(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, b;
    socklen_t len = sizeof b;
    int one = 1, l = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    SHOW("socket", "%d", l > 0);
    CALL("socket family", SYS_socket, 999, SOCK_STREAM, 0);
    CALL("socket type", SYS_socket, AF_INET, 77, 0);
    CALL("setsockopt", SYS_setsockopt, l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    CALL("bind", SYS_bind, l, &a, sizeof a);
    CALL("bind again", SYS_bind, l, &a, sizeof a);
    CALL("bind bad pointer", SYS_bind, l, BAD, sizeof a);
    CALL("bind size", SYS_bind, l, &a, 1);
    CALL("bind no socket", SYS_bind, 0, &a, sizeof a);
    CALL("listen", SYS_listen, l, 5);
    CALL("listen no socket", SYS_listen, 0, 5);
    CALL("getsockname", SYS_getsockname, l, &b, &len);
    SHOW("getsockname what", "%u %d %s %d", len, b.sin_family, inet_ntoa(b.sin_addr), b.sin_port != 0);
    CALL("getsockname bad pointer", SYS_getsockname, l, &b, BAD);
    CALL("getpeername of none", SYS_getpeername, l, &b, &len);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    CALL("connect", SYS_connect, c, &b, sizeof b);
    CALL("connect again", SYS_connect, c, &b, sizeof b);
    CALL("connect bad pointer", SYS_connect, c, BAD, sizeof b);
    struct sockaddr_in from;
    len = sizeof from;
    int s = syscall(SYS_accept4, l, &from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    SHOW("accept4", "%d %u %s %#x %d", s > 0, len, inet_ntoa(from.sin_addr), (unsigned)fcntl(s, F_GETFL), fcntl(s, F_GETFD));
    CALL("accept4 flags", SYS_accept4, l, NULL, NULL, 1);
    fcntl(l, F_SETFL, O_NONBLOCK);
    CALL("accept nothing", SYS_accept, l, NULL, NULL);
    CALL("accept no socket", SYS_accept, 0, NULL, NULL);
    CALL("accept not listening", SYS_accept, c, NULL, NULL);
    int c2 = socket(AF_INET, SOCK_STREAM, 0);
    connect(c2, (void *)&b, sizeof b);
    msleep(5);
    SHOW("accept", "%d", (int)syscall(SYS_accept, l, NULL, NULL) > 0);
    CALL("getpeername", SYS_getpeername, c, &from, &len);
    SHOW("getpeername what", "%d", from.sin_port == b.sin_port);
    write(c, "over tcp", 8);
    char buf[16] = {0};
    int n = 0;
    msleep(5);
    CALL("ioctl FIONREAD", SYS_ioctl, s, FIONREAD, &n);
    SHOW("ioctl FIONREAD count", "%d", n);
    CALL("read socket", SYS_read, s, buf, 16L);
    CALL("read socket nothing", SYS_read, s, buf, 16L);
    int refused = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = htons(1);
    CALL("connect refused", SYS_connect, refused, &a, sizeof a);
    int u = socket(AF_INET, SOCK_DGRAM, 0), w = socket(AF_INET, SOCK_DGRAM, 0);
    a.sin_port = 0, bind(u, (void *)&a, sizeof a), len = sizeof b, getsockname(u, (void *)&b, &len);
    CALL("sendto address", SYS_sendto, w, "datagram", 8L, 0, &b, sizeof b);
    len = sizeof from, memset(&from, 0, sizeof from);
    CALL("recvfrom address", SYS_recvfrom, u, buf, 4L, MSG_TRUNC, &from, &len);
    SHOW("recvfrom address is", "%u %d %s", len, from.sin_family, inet_ntoa(from.sin_addr));
    CALL("sendto no address", SYS_sendto, w, "x", 1L, 0, NULL, 0);
    a.sin_family = 77;
    CALL("sendto family", SYS_sendto, w, "x", 1L, 0, &a, sizeof a);
    struct ifreq r = {0};
    strcpy(r.ifr_name, "lo");
    CALL("ioctl SIOCGIFINDEX", SYS_ioctl, u, SIOCGIFINDEX, &r);
    SHOW("ioctl SIOCGIFINDEX is", "%d", r.ifr_ifindex);
    CALL("ioctl SIOCGIFFLAGS", SYS_ioctl, u, SIOCGIFFLAGS, &r);
    SHOW("ioctl SIOCGIFFLAGS is", "%d", (r.ifr_flags & IFF_LOOPBACK) != 0);
    CALL("ioctl SIOCGIFADDR", SYS_ioctl, u, SIOCGIFADDR, &r);
    strcpy(r.ifr_name, "missing0");
    CALL("ioctl SIOCGIFINDEX missing", SYS_ioctl, u, SIOCGIFINDEX, &r);
    struct ifreq list[8];
    struct ifconf f = {.ifc_len = sizeof list, .ifc_req = list};
    CALL("ioctl SIOCGIFCONF", SYS_ioctl, u, SIOCGIFCONF, &f);
    SHOW("ioctl SIOCGIFCONF is", "%s %d", list[0].ifr_name, f.ifc_len % (int)sizeof list[0]);
}

static void options(void) {
    int t = socket(AF_INET, SOCK_STREAM, 0), v = 0, one = 1;
    socklen_t len = sizeof v;
    static const struct { int level, name; } list[] = {
        {SOL_SOCKET, SO_TYPE}, {SOL_SOCKET, SO_DOMAIN}, {SOL_SOCKET, SO_PROTOCOL}, {SOL_SOCKET, SO_ERROR}, {SOL_SOCKET, SO_KEEPALIVE},
        {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_BROADCAST}, {SOL_SOCKET, SO_ACCEPTCONN}, {SOL_SOCKET, SO_OOBINLINE},
        {SOL_SOCKET, SO_RCVLOWAT}, {SOL_SOCKET, SO_PRIORITY}, {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_KEEPIDLE},
        {IPPROTO_TCP, TCP_KEEPCNT}, {IPPROTO_IP, IP_TTL}, {IPPROTO_IP, IP_TOS}, {SOL_SOCKET, 9999}, {999, 1},
    };
    for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
        char name[64];
        snprintf(name, sizeof name, "getsockopt %d %d", list[i].level, list[i].name);
        v = -7, len = sizeof v;
        if (CHECK(name, syscall(SYS_getsockopt, t, list[i].level, list[i].name, &v, &len)) == 0)
            printf("%s is: %d %u\n", name, v, len);
    }
    CALL("setsockopt TCP_NODELAY", SYS_setsockopt, t, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    CALL("setsockopt bad pointer", SYS_setsockopt, t, SOL_SOCKET, SO_KEEPALIVE, BAD, sizeof one);
    CALL("setsockopt size", SYS_setsockopt, t, SOL_SOCKET, SO_KEEPALIVE, &one, 1);
    CALL("setsockopt no socket", SYS_setsockopt, 0, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    CALL("getsockopt bad pointer", SYS_getsockopt, t, SOL_SOCKET, SO_TYPE, BAD, &len);
    struct timeval tv = {1, 500000}, got = {0};
    CALL("setsockopt SO_RCVTIMEO", SYS_setsockopt, t, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    len = sizeof got;
    CALL("getsockopt SO_RCVTIMEO", SYS_getsockopt, t, SOL_SOCKET, SO_RCVTIMEO, &got, &len);
    SHOW("getsockopt SO_RCVTIMEO is", "%ld %ld %u", (long)got.tv_sec, (long)got.tv_usec, len);
    struct linger l = {1, 5}, m = {0};
    CALL("setsockopt SO_LINGER", SYS_setsockopt, t, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    len = sizeof m;
    CALL("getsockopt SO_LINGER", SYS_getsockopt, t, SOL_SOCKET, SO_LINGER, &m, &len);
    SHOW("getsockopt SO_LINGER is", "%d %d", m.l_onoff, m.l_linger);
    int s[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    struct ucred u;
    len = sizeof u;
    CALL("getsockopt SO_PEERCRED", SYS_getsockopt, s[0], SOL_SOCKET, SO_PEERCRED, &u, &len);
    SHOW("getsockopt SO_PEERCRED is", "%d %d %u", u.pid == getpid(), u.uid == getuid(), len);
    tv = (struct timeval){0, 20000};
    setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    char c;
    CALL("recvfrom time out", SYS_recvfrom, s[0], &c, 1L, 0, NULL, NULL);
}

static void named(void) {
    struct sockaddr_un a = {AF_UNIX, "socket"}, b;
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL("bind name", SYS_bind, l, &a, sizeof a);
    CALL("bind name taken", SYS_bind, c, &a, sizeof a);
    listen(l, 1);
    CALL("connect name", SYS_connect, c, &a, sizeof a);
    socklen_t len = sizeof b;
    int s = syscall(SYS_accept, l, &b, &len);
    SHOW("accept name", "%d %u", s > 0, len);
    len = sizeof b;
    CALL("getpeername name", SYS_getpeername, c, &b, &len);
    SHOW("getpeername name is", "%u %s", len, b.sun_path);
    strcpy(a.sun_path, "missing");
    CALL("connect name missing", SYS_connect, socket(AF_UNIX, SOCK_STREAM, 0), &a, sizeof a);
}

void run(void) {
    pairs();
    messages();
    loopback();
    options();
    named();
}
