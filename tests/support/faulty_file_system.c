/* Make system calls fail for files whose path contains FAULTY_FILES, as some file systems do; loaded by LD_PRELOAD.

   FAULTY_CALLS names the failing calls: mmap, lock, read, write, sync, truncate, separated by commas. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static int is_faulty(const char *call, int fd) {
    const char *calls = getenv("FAULTY_CALLS"), *files = getenv("FAULTY_FILES");
    char link[64], path[4096];
    ssize_t length;
    if (calls == NULL || files == NULL || strstr(calls, call) == NULL)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, files) != NULL;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FAIL(call, fd, code)                                                                                           \
    if (is_faulty(call, fd)) {                                                                                         \
        errno = code;                                                                                                  \
        return -1;                                                                                                     \
    }

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    REAL(mmap);
    if ((flags & MAP_SHARED) && is_faulty("mmap", fd)) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return real(address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}

static int set_lock(int fd, int command, void *argument) {
    REAL(fcntl);
    if (command == F_SETLK || command == F_SETLKW || command == F_GETLK)
        FAIL("lock", fd, ENOLCK)
    return real(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return set_lock(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return set_lock(fd, command, argument);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
    REAL(pread);
    FAIL("read", fd, EIO)
    return real(fd, buffer, size, offset);
}

ssize_t pread64(int fd, void *buffer, size_t size, off_t offset) {
    return pread(fd, buffer, size, offset);
}

ssize_t write(int fd, const void *buffer, size_t size) {
    REAL(write);
    FAIL("write", fd, EIO)
    return real(fd, buffer, size);
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    REAL(pwrite);
    FAIL("write", fd, EIO)
    return real(fd, buffer, size, offset);
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off_t offset) {
    return pwrite(fd, buffer, size, offset);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    FAIL("truncate", fd, EIO)
    return real(fd, size);
}

int ftruncate64(int fd, off_t size) {
    return ftruncate(fd, size);
}

int fsync(int fd) {
    REAL(fsync);
    FAIL("sync", fd, EIO)
    return real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    FAIL("sync", fd, EIO)
    return real(fd);
}
