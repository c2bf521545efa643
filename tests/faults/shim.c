/* Preloaded into a process: counts its calls on files below a folder, and makes one of them fail.

   FAULT_FOLDER  the folder; calls on other files pass
   FAULT_KIND    an errno's name, "short" (half of a write), "torn" (half of a write, then SIGKILL), "kill before",
                 "kill after", or a signal's name, which the process sends itself before the call. "ENOSPC on" and
                 "EROFS on" fail that call and every later one that changes something
   FAULT_CALL    the number of the call, from 1; 0 only counts
   FAULT_LOG     a file that receives a line "CALL PATH" for every call

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
#include <unistd.h>

#define MOST_FILES 4096

struct named { const char *name; int number; };
static const struct named ERRORS[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EACCES", EACCES}, {"EDQUOT", EDQUOT}, {"EINTR", EINTR},
    {"ENFILE", ENFILE}, {"ENOSPC on", ENOSPC}, {"EROFS on", EROFS}, {NULL, 0}};
static const struct named SIGNALS[] = {
    {"SIGTERM", SIGTERM}, {"SIGINT", SIGINT}, {"SIGHUP", SIGHUP}, {"SIGUSR1", SIGUSR1}, {"SIGXCPU", SIGXCPU},
    {"kill before", SIGKILL}, {NULL, 0}};

enum action { PASS, FAIL, SHORT, TORN, KILL_AFTER };

static char folder[PATH_MAX], kind[32];
static long wanted, seen;
static int log_file = -1;
/* The path of each open file below the folder, NULL for every other descriptor. */
static char *paths[MOST_FILES];

static int number_of(const struct named *list, const char *name) {
    for (; list->name; list++)
        if (!strcmp(list->name, name)) return list->number;
    return 0;
}

__attribute__((constructor)) void fault_arm(void) {
    const char *root = getenv("FAULT_FOLDER"), *what = getenv("FAULT_KIND"), *call = getenv("FAULT_CALL");
    const char *log = getenv("FAULT_LOG");
    snprintf(folder, sizeof folder, "%s", root ? root : "");
    snprintf(kind, sizeof kind, "%s", what ? what : "");
    wanted = call ? atol(call) : 0;
    seen = 0;
    log_file = log && *log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
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
    return action == FAIL ? -1 : (int)done(action, syscall(SYS_fsync, file));
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

static int on_path(const char *call, const char *path, long number, long first, long second, long third, long fourth) {
    char absolute[PATH_MAX];
    enum action action = is_ours(AT_FDCWD, path, absolute) ? next(call, absolute, 1) : PASS;
    return action == FAIL ? -1 : (int)done(action, syscall(number, first, second, third, fourth, 0));
}

int rename(const char *from, const char *to) {
    return on_path("rename", to, SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to);
}

int unlink(const char *path) { return on_path("unlink", path, SYS_unlinkat, AT_FDCWD, (long)path, 0, 0); }

int mkdir(const char *path, mode_t mode) { return on_path("mkdir", path, SYS_mkdirat, AT_FDCWD, (long)path, mode, 0); }
