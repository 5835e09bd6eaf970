/* A disk that keeps a journal and fails on command: preloaded into the real program by mod.rs beside it.
 *
 * Below one folder it writes down, in order, every change and every sync, and what leaves through sockets
 * before it leaves; with that journal the folder can be rebuilt as a power cut at any point could have left
 * it. By a control file, mapped into memory, calls are made to fail while the program runs, or the program
 * is killed between two records. It does not follow memory that is mapped for writing, nor system calls made
 * without the C library: journal.rs compares the rebuilt folder with the real one to see that nothing was missed.
 *
 *   TIXING_DISK_UNDER    the folder, as an absolute path without links
 *   TIXING_DISK_JOURNAL  where records are added to; see `struct head`
 *   TIXING_DISK_CONTROL  the control file; see `struct control`
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
/* How much of what leaves through a socket is kept: a head and the start of a body. */
#define SAID 2048
#define FILES 65536
#define INODES 256

/* One record: this head, then `path`, `other` and `data`. All numbers as the machine has them. */
struct head {
  uint32_t magic;
  uint32_t thread;
  uint8_t kind;
  uint8_t pad[3];
  int32_t error; /* 0, or the errno of a call that failed */
  uint64_t offset;
  uint32_t path, other;
  uint64_t data;
};
#define MAGIC 0x4b534944u /* DISK */

/* What the test orders and what it reads; all words of 32 bits. */
struct control {
  _Atomic uint32_t error;  /* 0: healthy; else the errno that calls fail with; written last */
  _Atomic uint32_t kinds;  /* which calls: 1 writes and sizes, 2 syncs, 4 names */
  _Atomic uint32_t first;  /* the first such call that fails, counted from 1 */
  _Atomic uint32_t times;  /* how many fail; 0: all until healthy again */
  _Atomic uint32_t seen;   /* such calls so far, healthy or not; the test may set it to 0 */
  _Atomic uint32_t failed; /* calls that failed */
  _Atomic uint32_t die_in; /* n: kill the program right after its n-th record from now; 0: do not */
};
enum { WRITES = 1, SYNCS = 2, NAMES = 4 };

static char under[PATH_MAX];
static size_t under_len;
static int journal = -1;
static struct control nothing, *control = &nothing;
/* Held from a change to its record, so that the journal has the order in which they took place. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

/* A failed sync is told once to each handle that was open then, as Linux does (errseq). */
static struct { dev_t dev; ino_t ino; uint32_t n; int told; int error; } inodes[INODES];
static int n_inodes;
static uint32_t heard[FILES];

__attribute__((constructor)) static void start(void) {
  const char *folder = getenv("TIXING_DISK_UNDER"), *to = getenv("TIXING_DISK_JOURNAL"), *by = getenv("TIXING_DISK_CONTROL");
  if (!folder || !to) return;
  snprintf(under, sizeof under, "%s", folder);
  under_len = strlen(under);
  journal = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (journal < 0) abort();
  if (by) {
    int fd = syscall(SYS_openat, AT_FDCWD, by, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) abort();
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) abort();
    control = at;
    syscall(SYS_close, fd);
  }
}

static int is_under(const char *path) {
  return journal >= 0 && strncmp(path, under, under_len) == 0 && (path[under_len] == '/' || path[under_len] == 0);
}

/* The file's path, if it is a file or folder below the watched one. */
static int path_of(int fd, char path[PATH_MAX]) {
  char link[64];
  if (journal < 0 || fd < 0 || fd == journal) return 0;
  int kept = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = syscall(SYS_readlink, link, path, PATH_MAX - 1);
  errno = kept;
  if (n <= 0) return 0;
  path[n] = 0;
  return is_under(path);
}

/* The absolute path of a name, whose folder must exist; the last part may be missing or a link. */
static int path_at(int dir, const char *name, char path[PATH_MAX]) {
  char whole[PATH_MAX + 8], base[PATH_MAX];
  if (journal < 0) return 0;
  int kept = errno;
  if (name[0] == '/') snprintf(base, sizeof base, "%s", name);
  else {
    snprintf(whole, sizeof whole, dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
    ssize_t n = syscall(SYS_readlink, whole, path, PATH_MAX - 1);
    if (n <= 0) { errno = kept; return 0; }
    path[n] = 0;
    snprintf(base, sizeof base, "%.2000s/%.2000s", path, name);
  }
  size_t len = strlen(base);
  while (len > 1 && base[len - 1] == '/') base[--len] = 0;
  char *slash = strrchr(base, '/'), last[PATH_MAX], *real;
  snprintf(last, sizeof last, "%s", slash + 1);
  slash[slash == base ? 1 : 0] = 0;
  real = realpath(base, whole);
  errno = kept;
  if (!real) return 0;
  snprintf(path, PATH_MAX, "%.2000s/%.2000s", strcmp(whole, "/") ? whole : "", last);
  return is_under(path);
}

/* Adds a record; `order` is held. */
static void record(char kind, int error, uint64_t offset, const char *path, const char *other,
                   const struct iovec *data, int n_data, size_t data_len) {
  struct head head = {MAGIC, (uint32_t)syscall(SYS_gettid), (uint8_t)kind, {0}, error, offset, 0, 0, data_len};
  struct iovec all[64];
  int n = 3, kept = errno;
  head.path = path ? strlen(path) : 0;
  head.other = other ? strlen(other) : 0;
  all[0] = (struct iovec){&head, sizeof head};
  all[1] = (struct iovec){(void *)path, head.path};
  all[2] = (struct iovec){(void *)other, head.other};
  size_t left = data_len;
  for (int i = 0; i < n_data && left > 0 && n < 64; i++) {
    size_t take = data[i].iov_len < left ? data[i].iov_len : left;
    all[n++] = (struct iovec){data[i].iov_base, take};
    left -= take;
  }
  size_t size = sizeof head + head.path + head.other + data_len - left;
  if (left > 0 || syscall(SYS_writev, journal, all, n) != (ssize_t)size) abort();
  uint32_t die = atomic_load(&control->die_in);
  if (die > 0) {
    atomic_store(&control->die_in, die - 1);
    if (die == 1) syscall(SYS_kill, getpid(), SIGKILL);
  }
  errno = kept;
}

/* The errno with which this call is to fail, or 0; `order` is held. */
static int fault(uint32_t kind) {
  if (!(atomic_load(&control->kinds) & kind)) return 0;
  uint32_t seen = atomic_fetch_add(&control->seen, 1) + 1, error = atomic_load(&control->error);
  uint32_t first = atomic_load(&control->first), times = atomic_load(&control->times);
  if (!error || seen < first || (times && seen - first >= times)) return 0;
  atomic_fetch_add(&control->failed, 1);
  return (int)error;
}

/* The number of the file's failed syncs; `order` is held. */
static int inode_of(int fd) {
  struct stat is;
  if (fstat(fd, &is) != 0) return -1;
  for (int i = 0; i < n_inodes; i++)
    if (inodes[i].dev == is.st_dev && inodes[i].ino == is.st_ino) return i;
  return -1;
}

static void opened(int fd) {
  if (fd < 0 || fd >= FILES) return;
  int i = inode_of(fd);
  /* Who opens after everybody was told hears nothing of it; a failure nobody heard of is told to him too. */
  heard[fd] = i < 0 ? 0 : inodes[i].told ? inodes[i].n : inodes[i].n - 1;
}

static void sync_failed(int fd, int error) {
  struct stat is;
  int i = inode_of(fd);
  if (i < 0) {
    if (n_inodes == INODES || fstat(fd, &is) != 0) abort();
    i = n_inodes++;
    inodes[i].dev = is.st_dev;
    inodes[i].ino = is.st_ino;
  }
  inodes[i].n++;
  inodes[i].told = 1;
  inodes[i].error = error;
  if (fd < FILES) heard[fd] = inodes[i].n;
}

/* ---- names ---- */

static int open_at(int dir, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  struct stat is;
  if (journal < 0) return syscall(SYS_openat, dir, name, flags, mode);
  pthread_mutex_lock(&order);
  int changes = flags & (O_CREAT | O_TRUNC), writes = (flags & O_ACCMODE) != O_RDONLY;
  int fd = -1, below = (changes || writes) && path_at(dir, name, path);
  /* What is there opens on a full disk too; nothing opens for writing on one that is read-only. */
  int needs = flags & O_TRUNC || (flags & O_CREAT && stat(path, &is) != 0) || atomic_load(&control->error) == EROFS;
  int error = below && needs ? fault(NAMES) : 0;
  if (error) errno = error;
  else fd = syscall(SYS_openat, dir, name, flags, mode);
  if (below && changes && fd >= 0) {
    path_of(fd, path);
    if (flags & O_CREAT) record('C', 0, 0, path, NULL, NULL, 0, 0);
    if (flags & O_TRUNC) record('T', 0, 0, path, NULL, NULL, 0, 0);
  }
  if (fd >= 0) opened(fd);
  pthread_mutex_unlock(&order);
  return fd;
}

#define OPEN(NAME, EXTRA)                                        \
  EXPORT int NAME(const char *name, int flags, ...) {            \
    va_list more;                                                \
    va_start(more, flags);                                       \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more);                                                \
    return open_at(AT_FDCWD, name, flags | EXTRA, mode);         \
  }
OPEN(open, 0)
OPEN(open64, O_LARGEFILE)

#define OPENAT(NAME, EXTRA)                                      \
  EXPORT int NAME(int dir, const char *name, int flags, ...) {   \
    va_list more;                                                \
    va_start(more, flags);                                       \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more);                                                \
    return open_at(dir, name, flags | EXTRA, mode);              \
  }
OPENAT(openat, 0)
OPENAT(openat64, O_LARGEFILE)
EXPORT int creat(const char *name, mode_t mode) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT int creat64(const char *name, mode_t mode) { return creat(name, mode); }

/* A change of one name; `text` is a link's target. */
static int change(char kind, int dir, const char *name, const char *text, long (*call)(void *), void *of) {
  char path[PATH_MAX];
  if (journal < 0) return call(of);
  pthread_mutex_lock(&order);
  int below = path_at(dir, name, path), error = below ? fault(NAMES) : 0, done = -1;
  if (error) errno = error;
  else done = call(of);
  if (below && done == 0) record(kind, 0, 0, path, text, NULL, 0, 0);
  pthread_mutex_unlock(&order);
  return done;
}

struct name { int dir; const char *name; long n; const char *text; };
static long do_mkdir(void *of) { struct name *is = of; return syscall(SYS_mkdirat, is->dir, is->name, (mode_t)is->n); }
static long do_unlink(void *of) { struct name *is = of; return syscall(SYS_unlinkat, is->dir, is->name, (int)is->n); }
static long do_symlink(void *of) { struct name *is = of; return syscall(SYS_symlinkat, is->text, is->dir, is->name); }

EXPORT int mkdirat(int dir, const char *name, mode_t mode) { return change('M', dir, name, NULL, do_mkdir, &(struct name){dir, name, mode, NULL}); }
EXPORT int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
EXPORT int unlinkat(int dir, const char *name, int flags) { return change('U', dir, name, NULL, do_unlink, &(struct name){dir, name, flags, NULL}); }
EXPORT int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
EXPORT int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
EXPORT int symlinkat(const char *text, int dir, const char *name) { return change('L', dir, name, text, do_symlink, &(struct name){dir, name, 0, text}); }
EXPORT int symlink(const char *text, const char *name) { return symlinkat(text, AT_FDCWD, name); }

EXPORT int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  char was[PATH_MAX], is[PATH_MAX];
  if (journal < 0) return syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
  pthread_mutex_lock(&order);
  int a = path_at(from_dir, from, was), b = path_at(to_dir, to, is), error = a || b ? fault(NAMES) : 0, done = -1;
  if (error) errno = error;
  else done = syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
  if ((a || b) && done == 0) record('N', 0, flags, was, is, NULL, 0, 0);
  pthread_mutex_unlock(&order);
  return done;
}
EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to) { return renameat2(from_dir, from, to_dir, to, 0); }
EXPORT int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* ---- data ---- */

/* What leaves through a socket is told before it leaves; only its start is kept. */
static void said(const struct iovec *data, int n) {
  size_t len = 0;
  if (n > 60) n = 60;
  for (int i = 0; i < n; i++) len += data[i].iov_len;
  pthread_mutex_lock(&order);
  record('>', 0, 0, NULL, NULL, data, n, len < SAID ? len : SAID);
  pthread_mutex_unlock(&order);
}

static ssize_t put(int fd, const struct iovec *data, int n, off_t at, int flags) {
  char path[PATH_MAX];
  int below = path_of(fd, path);
  if (below) pthread_mutex_lock(&order);
  int error = below ? fault(WRITES) : 0;
  ssize_t done = -1;
  if (error) errno = error;
  else if (at < 0 && flags == 0) done = n == 1 ? syscall(SYS_write, fd, data->iov_base, data->iov_len) : syscall(SYS_writev, fd, data, n);
  else done = syscall(SYS_pwritev2, fd, data, n, at, 0, flags);
  if (below) {
    /* Where it went: a plain write ends where the file's position is now, that of an appender too. */
    if (at < 0) at = done > 0 ? lseek(fd, 0, SEEK_CUR) - done : 0;
    if (done > 0) record('W', 0, at, path, NULL, data, n, done);
    else if (done < 0) record('W', errno, at, path, NULL, NULL, 0, 0);
    pthread_mutex_unlock(&order);
  }
  return done;
}

static int is_socket(int fd) {
  struct stat is;
  int kept = errno, yes = journal >= 0 && fd > 2 && fstat(fd, &is) == 0 && S_ISSOCK(is.st_mode);
  errno = kept;
  return yes;
}

EXPORT ssize_t writev(int fd, const struct iovec *data, int n) {
  if (is_socket(fd)) {
    said(data, n);
    return syscall(SYS_writev, fd, data, n);
  }
  return put(fd, data, n, -1, 0);
}
EXPORT ssize_t write(int fd, const void *data, size_t len) {
  struct iovec one = {(void *)data, len};
  if (is_socket(fd)) {
    said(&one, 1);
    return syscall(SYS_write, fd, data, len);
  }
  return put(fd, &one, 1, -1, 0);
}
EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return put(fd, &(struct iovec){(void *)data, len}, 1, at, 0); }
EXPORT ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) { return pwrite(fd, data, len, at); }
EXPORT ssize_t pwritev(int fd, const struct iovec *data, int n, off_t at) { return put(fd, data, n, at, 0); }
EXPORT ssize_t pwritev64(int fd, const struct iovec *data, int n, off_t at) { return put(fd, data, n, at, 0); }
EXPORT ssize_t pwritev2(int fd, const struct iovec *data, int n, off_t at, int flags) { return put(fd, data, n, at, flags); }
EXPORT ssize_t pwritev64v2(int fd, const struct iovec *data, int n, off_t at, int flags) { return put(fd, data, n, at, flags); }

EXPORT ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t size) {
  if (journal >= 0) said(&(struct iovec){(void *)data, len}, 1);
  return syscall(SYS_sendto, fd, data, len, flags, to, size);
}
EXPORT ssize_t send(int fd, const void *data, size_t len, int flags) { return sendto(fd, data, len, flags, NULL, 0); }
EXPORT ssize_t sendmsg(int fd, const struct msghdr *what, int flags) {
  if (journal >= 0) said(what->msg_iov, what->msg_iovlen);
  return syscall(SYS_sendmsg, fd, what, flags);
}

/* A change of a file's size: `T` cuts or extends it, `A` sets room aside. */
static int size(char kind, int fd, off_t at, off_t len, int mode) {
  char path[PATH_MAX];
  int below = path_of(fd, path);
  if (below) pthread_mutex_lock(&order);
  int error = below ? fault(WRITES) : 0, done = -1;
  if (error) errno = error;
  else done = kind == 'T' ? syscall(SYS_ftruncate, fd, len) : syscall(SYS_fallocate, fd, mode, at, len);
  if (below) {
    /* Only plain room is understood: it extends the file, unless its size is to be kept. */
    if (done == 0 && kind == 'A' && (mode & ~FALLOC_FL_KEEP_SIZE)) record('!', 0, 0, path, "fallocate", NULL, 0, 0);
    else if (done == 0 && (kind == 'T' || mode == 0)) record(kind, 0, kind == 'T' ? len : at + len, path, NULL, NULL, 0, 0);
    pthread_mutex_unlock(&order);
  }
  return done;
}
EXPORT int ftruncate(int fd, off_t len) { return size('T', fd, 0, len, 0); }
EXPORT int ftruncate64(int fd, off_t len) { return size('T', fd, 0, len, 0); }
EXPORT int fallocate(int fd, int mode, off_t at, off_t len) { return size('A', fd, at, len, mode); }
EXPORT int fallocate64(int fd, int mode, off_t at, off_t len) { return size('A', fd, at, len, mode); }
EXPORT int posix_fallocate(int fd, off_t at, off_t len) { return size('A', fd, at, len, 0) ? errno : 0; }
EXPORT int posix_fallocate64(int fd, off_t at, off_t len) { return posix_fallocate(fd, at, len); }

/* What would change a file behind the journal's back is told, and journal.rs refuses such a journal. */
static void unfollowed(int fd, const char *what) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return;
  pthread_mutex_lock(&order);
  record('!', 0, 0, path, what, NULL, 0, 0);
  pthread_mutex_unlock(&order);
}
EXPORT void *mmap64(void *at, size_t len, int may, int flags, int fd, off_t from) {
  if (fd >= 0 && (flags & MAP_SHARED) && (may & PROT_WRITE)) unfollowed(fd, "mmap");
  return (void *)syscall(SYS_mmap, at, len, may, flags, fd, from);
}
EXPORT ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t len, unsigned flags) {
  unfollowed(to, "copy_file_range");
  return syscall(SYS_copy_file_range, from, a, to, b, len, flags);
}
EXPORT ssize_t sendfile64(int to, int from, off64_t *at, size_t len) {
  unfollowed(to, "sendfile");
  return syscall(SYS_sendfile, to, from, at, len);
}

/* ---- syncs ---- */

/* Begins with `b` and ends with `e`, by the same thread: what was written before its begin is durable at its end. */
static int synced(int fd, long call) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return syscall(call, fd);
  pthread_mutex_lock(&order);
  record('b', 0, 0, path, NULL, NULL, 0, 0);
  int error = fault(SYNCS), i = inode_of(fd);
  if (error) sync_failed(fd, error);
  else if (i >= 0 && fd < FILES && heard[fd] != inodes[i].n) {
    heard[fd] = inodes[i].n;
    error = inodes[i].error;
  }
  pthread_mutex_unlock(&order);
  int done = error ? -1 : syscall(call, fd);
  if (!error && done != 0) error = errno;
  pthread_mutex_lock(&order);
  record('e', error, 0, path, NULL, NULL, 0, 0);
  pthread_mutex_unlock(&order);
  if (error) errno = error;
  return done;
}
EXPORT int fsync(int fd) { return synced(fd, SYS_fsync); }
EXPORT int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
/* Waits for no disk's cache and writes no size: told, but it makes nothing durable. */
EXPORT int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
  char path[PATH_MAX];
  if (path_of(fd, path)) {
    pthread_mutex_lock(&order);
    int error = fault(SYNCS);
    record('r', error, at, path, NULL, NULL, 0, 0);
    if (error) sync_failed(fd, error);
    pthread_mutex_unlock(&order);
    if (error) {
      errno = error;
      return -1;
    }
  }
  return syscall(SYS_sync_file_range, fd, at, len, flags);
}
