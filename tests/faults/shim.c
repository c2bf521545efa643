/* Preloaded into a process: counts its calls on files below a folder, and makes one of them fail.

   FAULT_FOLDER  the folder; calls on other files pass
   FAULT_KIND    an errno's name, "short" (half of a write), "torn" (half of a write, then SIGKILL), "kill before",
                 "kill after", "delay" (the call takes a tenth of a second), or a signal's name, which the process sends
                 itself before the call. "ENOSPC on" and "EROFS on" fail that call and every later one that changes
                 something
   FAULT_CALL    the number of the call, from 1; 0 only counts
   FAULT_LOG     a file that receives a line "CALL PATH" for every call
   FAULT_TRACE   a file that receives every change and every sync, with what was written (crash_states.py reads it)
   FAULT_CLOCK   "FROM SECONDS RATE": from the FROM-th look at the time of day on, it is SECONDS later than it is, and
                 goes RATE times as fast (0: it stands still, -1: it goes backwards)

   fault_arm() reads these again and starts to count anew. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST_FILES 4096

struct named { const char *name; int number; };
static const struct named ERRORS[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EACCES", EACCES}, {"EDQUOT", EDQUOT}, {"EINTR", EINTR},
    {"ENFILE", ENFILE}, {"ENOSPC on", ENOSPC}, {"EROFS on", EROFS}, {NULL, 0}};
static const struct named SIGNALS[] = {
    {"SIGTERM", SIGTERM}, {"SIGINT", SIGINT}, {"SIGHUP", SIGHUP}, {"SIGUSR1", SIGUSR1}, {"SIGXCPU", SIGXCPU},
    {"SIGSTOP", SIGSTOP}, {"kill before", SIGKILL}, {NULL, 0}};

enum action { PASS, FAIL, SHORT, TORN, KILL_AFTER };

static char folder[PATH_MAX], kind[32];
static long wanted, seen;
static int log_file = -1, trace_file = -1;
static long clock_from, clock_seen;
static double clock_shift, clock_rate, clock_began;
/* The path of each open file below the folder, NULL for every other descriptor. */
static char *paths[MOST_FILES];

static int number_of(const struct named *list, const char *name) {
    for (; list->name; list++)
        if (!strcmp(list->name, name)) return list->number;
    return 0;
}

static int opened_log(const char *name) {
    const char *path = getenv(name);
    if (!path || !*path) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

__attribute__((constructor)) void fault_arm(void) {
    const char *root = getenv("FAULT_FOLDER"), *what = getenv("FAULT_KIND"), *call = getenv("FAULT_CALL");
    const char *clock = getenv("FAULT_CLOCK");
    snprintf(folder, sizeof folder, "%s", root ? root : "");
    snprintf(kind, sizeof kind, "%s", what ? what : "");
    wanted = call ? atol(call) : 0;
    seen = clock_seen = clock_from = 0;
    clock_began = 0;
    if (clock && *clock) sscanf(clock, "%ld %lf %lf", &clock_from, &clock_shift, &clock_rate);
    log_file = opened_log("FAULT_LOG");
    trace_file = opened_log("FAULT_TRACE");
}

/* One entry of the trace: a line of the call, the length of what follows, and the paths; then the bytes. */
static void traced(const char *call, const char *path, const char *other, const void *data, size_t size) {
    char head[2 * PATH_MAX + 64];
    int saved = errno;
    if (trace_file < 0) return;
    int length = snprintf(head, sizeof head, "%s\t%zu\t%s\t%s\n", call, size, path, other);
    syscall(SYS_write, trace_file, head, (size_t)length);
    if (size) syscall(SYS_write, trace_file, data, size);
    errno = saved;
}

/* The absolute path, without resolving links; 0 if it does not lie below the folder. */
static int is_ours(int at, const char *path, char *absolute) {
    char base[PATH_MAX] = "", link[64];
    size_t length = strlen(folder);
    if (!length || !path) return 0;
    if (*path == '/') {
        snprintf(absolute, PATH_MAX, "%s", path);
    } else {
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t got = readlink(link, base, sizeof base - 1);
            if (got < 0) return 0;
            base[got] = 0;
        }
        if (snprintf(absolute, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    return !strncmp(absolute, folder, length) && (absolute[length] == '/' || !absolute[length]);
}

/* Counts a call and says what becomes of it; sets errno for FAIL. */
static enum action next(const char *call, const char *path, int changes) {
    char line[PATH_MAX + 32];
    long number = __sync_add_and_fetch(&seen, 1);
    int saved = errno, length, is_write = !strcmp(call, "write"), goes_on = strstr(kind, " on") != NULL;
    if (log_file >= 0) {
        length = snprintf(line, sizeof line, "%s %s\n", call, path);
        syscall(SYS_write, log_file, line, (size_t)length);
    }
    errno = saved;
    if (!wanted || (goes_on ? number < wanted || !changes : number != wanted)) return PASS;
    if (number_of(ERRORS, kind)) {
        errno = number_of(ERRORS, kind);
        return FAIL;
    }
    if (number_of(SIGNALS, kind)) {
        kill(getpid(), number_of(SIGNALS, kind));
        return PASS;
    }
    if (!strcmp(kind, "delay")) {
        struct timespec tenth = {0, 100000000};
        nanosleep(&tenth, NULL);
        return PASS;
    }
    if (!strcmp(kind, "kill after")) return KILL_AFTER;
    if (is_write && !strcmp(kind, "short")) return SHORT;
    if (is_write && !strcmp(kind, "torn")) return TORN;
    return PASS;
}

static long done(enum action action, long result) {
    if (action == KILL_AFTER || action == TORN) kill(getpid(), SIGKILL);
    return result;
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    char absolute[PATH_MAX];
    if (!is_ours(at, path, absolute)) return (int)syscall(SYS_openat, at, path, flags, mode);
    enum action action = next("open", absolute, flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR));
    if (action == FAIL) return -1;
    int file = (int)done(action, syscall(SYS_openat, at, path, flags, mode));
    if (file >= 0 && file < MOST_FILES) paths[file] = strdup(absolute);
    if (file >= 0 && flags & O_CREAT) traced("create", absolute, "", NULL, 0);
    if (file >= 0 && flags & O_TRUNC) traced("truncate", absolute, "", NULL, 0);
    return file;
}

#define OPEN(NAME)                                                                                                     \
    int NAME(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opened(AT_FDCWD, path, flags, mode);                                                                    \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(NAME)                                                                                                   \
    int NAME(int at, const char *path, int flags, ...) {                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opened(at, path, flags, mode);                                                                          \
    }
OPENAT(openat)
OPENAT(openat64)

static const char *path_of(int file) { return file >= 0 && file < MOST_FILES ? paths[file] : NULL; }

ssize_t write(int file, const void *data, size_t size) {
    if (!path_of(file)) return syscall(SYS_write, file, data, size);
    enum action action = next("write", path_of(file), 1);
    if (action == FAIL) return -1;
    if (action == SHORT || action == TORN) size = size / 2;
    traced("write", path_of(file), "", data, size);
    return done(action, syscall(SYS_write, file, data, size));
}

ssize_t read(int file, void *data, size_t size) {
    if (!path_of(file)) return syscall(SYS_read, file, data, size);
    enum action action = next("read", path_of(file), 0);
    return action == FAIL ? -1 : done(action, syscall(SYS_read, file, data, size));
}

int fsync(int file) {
    if (!path_of(file)) return (int)syscall(SYS_fsync, file);
    enum action action = next("fsync", path_of(file), 1);
    if (action == FAIL) return -1;
    traced("fsync", path_of(file), "", NULL, 0);
    return (int)done(action, syscall(SYS_fsync, file));
}

int close(int file) {
    if (!path_of(file)) return (int)syscall(SYS_close, file);
    enum action action = next("close", path_of(file), 0);
    int error = errno;
    free(paths[file]);
    paths[file] = NULL;
    long result = done(action, syscall(SYS_close, file));
    /* Linux closes a file whatever it returns. */
    if (action != FAIL) return (int)result;
    errno = error;
    return -1;
}

/* `other` is the second path of a rename, or empty. */
static int on_path(const char *call, const char *path, const char *other, long number, long first, long second, long third,
                   long fourth) {
    char absolute[PATH_MAX], from[PATH_MAX] = "";
    enum action action = is_ours(AT_FDCWD, path, absolute) ? next(call, absolute, 1) : PASS;
    if (action == FAIL) return -1;
    if (*other && !is_ours(AT_FDCWD, other, from)) *from = 0;
    int result = (int)done(action, syscall(number, first, second, third, fourth, 0));
    if (!result && is_ours(AT_FDCWD, path, absolute)) traced(call, absolute, from, NULL, 0);
    return result;
}

int rename(const char *from, const char *to) {
    return on_path("rename", to, from, SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to);
}

int unlink(const char *path) { return on_path("unlink", path, "", SYS_unlinkat, AT_FDCWD, (long)path, 0, 0); }

int mkdir(const char *path, mode_t mode) {
    return on_path("mkdir", path, "", SYS_mkdirat, AT_FDCWD, (long)path, mode, 0);
}

/* The time of day, as FAULT_CLOCK has it. */
static double told(double real) {
    if (!clock_from || __sync_add_and_fetch(&clock_seen, 1) < clock_from) return real;
    if (!clock_began) clock_began = real;
    return clock_began + clock_shift + clock_rate * (real - clock_began);
}

int clock_gettime(clockid_t which, struct timespec *found) {
    int result = (int)syscall(SYS_clock_gettime, which, found);
    if (result || !clock_from || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return result;
    double now = told((double)found->tv_sec + 1e-9 * (double)found->tv_nsec);
    found->tv_sec = (time_t)now;
    found->tv_nsec = (long)(1e9 * (now - (double)found->tv_sec));
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}
