// The line discipline of a pseudo-terminal: editing, echo, signals, end of file, raw modes.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static int m, s;

static void show(const char *what, const char *data, long n) {
    printf("%s %ld: ", what, n);
    for (long i = 0; i < n; i++) {
        unsigned char c = data[i];
        if (c >= 32 && c < 127 && c != '\\') putchar(c); else printf("\\%03o", c);
    }
    if (n < 0) printf("errno %d", errno);
    putchar('\n');
}

static void type(const char *keys) { write(m, keys, strlen(keys)); usleep(20000); }

static void echoed(void) {
    char b[8192];
    usleep(10000);
    int n = 0;
    fcntl(m, F_SETFL, O_NONBLOCK);
    long got = 0, r;
    while (got < (long)sizeof b && (r = read(m, b + got, sizeof b - got)) > 0) got += r;
    show("  shown", b, got);
    fcntl(m, F_SETFL, 0);
}

static void get(int count) {
    char b[8192];
    int n = -1;
    usleep(10000);
    ioctl(s, FIONREAD, &n);
    fcntl(s, F_SETFL, O_NONBLOCK);
    long r = read(s, b, count);
    fcntl(s, F_SETFL, 0);
    printf("  FIONREAD %d ", n);
    show("read", b, r);
}

static void both(const char *keys) { type(keys); echoed(); get(4096); }

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    signal(SIGHUP, SIG_IGN);
    struct winsize w = {24, 80, 1, 2}, w2;
    struct termios t;
    printf("openpty %d\n", openpty(&m, &s, 0, 0, &w));
    tcgetattr(s, &t);
    printf("%x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    show("cc", (char *)t.c_cc, 17);
    ioctl(m, TIOCGWINSZ, &w2);
    printf("%d %d %d %d\n", w2.ws_row, w2.ws_col, w2.ws_xpixel, w2.ws_ypixel);
    both("hello\r");
    both("ab\177c\n");
    both("\tx\177\177y\n");
    both("ab\tc\tdd\177\177\177\177\n");
    both("one two  \027\027three\n");
    both("kill me\025rest\n");
    both("ctl \001\002 \177\177\177\n");
    both("lit \026\003 \026\177\n");
    both("re\022print\n");
    both("eof\004");
    both("\004");
    type("abc\004"); get(3); get(10); echoed();
    type("abcdef\n"); get(3); get(1); get(10); echoed();
    both("line1\nline2\n"); get(100); get(100);
    both("partial");
    both("\n");
    both("x\003y\n");
    both("x\034\n");
    both("\033[A\n");
    // UTF-8
    t.c_iflag |= IUTF8; tcsetattr(s, TCSANOW, &t);
    both("a\303\251\177b\n");
    t.c_iflag &= ~IUTF8; tcsetattr(s, TCSANOW, &t);
    both("a\303\251\177b\n");
    // no echo, ECHONL
    t.c_lflag &= ~ECHO; tcsetattr(s, TCSANOW, &t);
    both("secret\177\n"); both("k\025l\n");
    t.c_lflag |= ECHONL; tcsetattr(s, TCSANOW, &t);
    both("secret\n");
    t.c_lflag |= ECHO; t.c_lflag &= ~ECHOE; tcsetattr(s, TCSANOW, &t);
    both("ab\177\n"); both("ab\025c\n");
    t.c_lflag |= ECHOE | ECHOPRT; tcsetattr(s, TCSANOW, &t);
    both("abc\177\177d\n"); both("abc\177\n");
    t.c_lflag &= ~(ECHOPRT | ECHOKE); tcsetattr(s, TCSANOW, &t);
    both("abc\025d\n");
    t.c_lflag &= ~ECHOCTL; t.c_lflag |= ECHOKE; tcsetattr(s, TCSANOW, &t);
    both("\001b\003\177\177c\n");
    t.c_lflag |= ECHOCTL;
    // EOL characters
    t.c_cc[VEOL] = ';'; t.c_cc[VEOL2] = '!'; tcsetattr(s, TCSANOW, &t);
    both("a;b!c\n"); get(10); get(10);
    t.c_cc[VEOL] = t.c_cc[VEOL2] = 0;
    // input flags
    t.c_iflag = INLCR; tcsetattr(s, TCSANOW, &t); both("a\rb\n\004");
    t.c_iflag = IGNCR; tcsetattr(s, TCSANOW, &t); both("a\rb\n");
    t.c_iflag = ISTRIP | ICRNL; tcsetattr(s, TCSANOW, &t); both("\341b\n");
    t.c_iflag = IUCLC | ICRNL; tcsetattr(s, TCSANOW, &t); both("ABC\n");
    t.c_iflag = PARMRK | ICRNL; tcsetattr(s, TCSANOW, &t); both("x\377y\n");
    t.c_iflag = ICRNL | IXON;
    // output flags
    t.c_oflag = OPOST | ONLCR | XTABS; tcsetattr(s, TCSANOW, &t); write(s, "a\tb\nc\t\td\n", 9); echoed();
    t.c_oflag = OPOST | OLCUC; tcsetattr(s, TCSANOW, &t); write(s, "abc\n", 4); echoed();
    t.c_oflag = OPOST | OCRNL; tcsetattr(s, TCSANOW, &t); write(s, "abc\rd\n", 6); echoed();
    t.c_oflag = OPOST | ONOCR; tcsetattr(s, TCSANOW, &t); write(s, "\rabc\rd\n\r", 8); echoed();
    t.c_oflag = OPOST | ONLRET; tcsetattr(s, TCSANOW, &t); write(s, "abc\n\tx", 6); echoed();
    t.c_oflag = 0; tcsetattr(s, TCSANOW, &t); write(s, "a\nb\r\n", 5); echoed();
    t.c_oflag = OPOST | ONLCR; tcsetattr(s, TCSANOW, &t); write(s, "prompt> ", 8); both("a\tb\177\177c\n");
    // XON/XOFF
    type("\023"); printf("write while stopped: "); fcntl(s, F_SETFL, O_NONBLOCK); long r = write(s, "x", 1); printf("%ld %d\n", r, r < 0 ? errno : 0); fcntl(s, F_SETFL, 0);
    type("echo"); echoed(); type("\021"); echoed(); both("\n");
    // switching to raw with input there
    type("half"); t.c_lflag &= ~ICANON; t.c_cc[VMIN] = 1; t.c_cc[VTIME] = 0; tcsetattr(s, TCSANOW, &t); get(100); echoed();
    both("a\003b"); both("\177\025\004\n\r"); get(100);
    type("abc"); get(2); get(2); get(2);
    t.c_cc[VMIN] = 3; tcsetattr(s, TCSANOW, &t); 
    struct pollfd p = {s, POLLIN | POLLOUT};
    type("x"); p.revents = 0; printf("poll %d %x\n", poll(&p, 1, 0), p.revents); type("yz"); p.revents = 0; printf("poll %d %x\n", poll(&p, 1, 100), p.revents); get(10);
    type("p"); get(10);
    t.c_cc[VMIN] = 0; t.c_cc[VTIME] = 1; tcsetattr(s, TCSANOW, &t); char b[10]; printf("VTIME: %ld\n", (long)read(s, b, 10));
    t.c_cc[VTIME] = 0; tcsetattr(s, TCSANOW, &t); printf("VMIN 0: %ld\n", (long)read(s, b, 10));
    t.c_cc[VMIN] = 5; t.c_cc[VTIME] = 1; tcsetattr(s, TCSANOW, &t); type("ab"); printf("between: %ld\n", (long)read(s, b, 10));
    type("raw"); t.c_lflag |= ICANON; tcsetattr(s, TCSANOW, &t); get(10); echoed();
    type("gone"); tcflush(s, TCIFLUSH); both("x\n");
    write(s, "unseen", 6); usleep(20000); tcflush(s, TCOFLUSH); echoed();
    type("gone\n"); tcsetattr(s, TCSAFLUSH, &t); both("y\n");
    printf("%d %d\n", tcflush(s, 7), errno); printf("%d %d\n", tcflow(s, 9), errno);
    printf("drain %d break %d\n", tcdrain(s), tcsendbreak(s, 0));
    return 0;
}
