/* A disk in trouble, for one process: preloaded, it stands between SQLite and libc.
 *
 * Only files whose path begins with STARVED_DISK_PREFIX are concerned. STARVED_DISK_CONTROL names a
 * file of four 32-bit integers that this process and the test share: what is wrong (below), how
 * many milliseconds a sync takes, and how many calls were slowed and how many failed so far.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { WELL, SLOW, READ_ONLY, FULL, SYNC_FAILS };

struct control {
    volatile int32_t trouble;
    volatile int32_t sync_ms;
    volatile int32_t slowed;
    volatile int32_t failed;
};

static struct control *control;
static const char *prefix;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("STARVED_DISK_CONTROL");
    prefix = getenv("STARVED_DISK_PREFIX");
    if (path == NULL || prefix == NULL)
        return;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        abort();
    void *there = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (there == MAP_FAILED)
        abort();
    control = there;
    close(fd);
}

static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

static int fails(int error) {
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return 1;
}

/* Whether a write to this file fails; errno says how. */
static int write_fails(int fd) {
    if (control == NULL || (control->trouble != READ_ONLY && control->trouble != FULL))
        return 0;
    return is_ours(fd) && fails(control->trouble == FULL ? ENOSPC : EROFS);
}

static int sync_fails(int fd) {
    if (control == NULL || control->trouble == WELL || !is_ours(fd))
        return 0;
    if (control->trouble == SYNC_FAILS)
        return fails(EIO);
    if (control->trouble == SLOW) {
        const struct timespec a_while = {0, 10 * 1000 * 1000};
        __atomic_add_fetch(&control->slowed, 1, __ATOMIC_SEQ_CST);
        for (int ms = 0; ms < control->sync_ms && control->trouble == SLOW; ms += 10)
            nanosleep(&a_while, NULL);
    }
    return 0;
}

static int open_fails(const char *path, int flags) {
    if (control == NULL || control->trouble != READ_ONLY)
        return 0;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))
        return 0;
    return strncmp(path, prefix, strlen(prefix)) == 0 && fails(EROFS);
}

int fsync(int fd) { return sync_fails(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return sync_fails(fd) ? -1 : REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *bytes, size_t count) {
    return write_fails(fd) ? -1 : REAL(write)(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return write_fails(fd) ? -1 : REAL(pwrite)(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return write_fails(fd) ? -1 : REAL(pwrite64)(fd, bytes, count, offset);
}

int ftruncate(int fd, off_t length) { return write_fails(fd) ? -1 : REAL(ftruncate)(fd, length); }

int ftruncate64(int fd, off64_t length) {
    return write_fails(fd) ? -1 : REAL(ftruncate64)(fd, length);
}

#define MODE(flags)                      \
    mode_t mode = 0;                     \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more;                    \
        va_start(more, flags);           \
        mode = va_arg(more, mode_t);     \
        va_end(more);                    \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_fails(path, flags) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_fails(path, flags) ? -1 : REAL(open64)(path, flags, mode);
}
