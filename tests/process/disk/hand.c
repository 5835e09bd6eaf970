/* Does what its words say, one system call each, and tells the errno of each: `hand.rs` tests the disk with it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int n, char **word) {
  int fd[10];
  for (int i = 1; i < n; i++) {
    char what = word[i][0], a[64] = "", b[64] = "", c[64] = "", data[8192];
    int h = word[i][1] - '0', done;
    sscanf(word[i] + 1 + (h >= 0 && h < 10), ":%60[^:]:%60[^:]:%60[^:]", a, b, c);
    memset(data, c[0], sizeof data);
    if (what == 'o') done = fd[h] = open(a, O_RDWR | O_CREAT, 0600);
    else if (what == 'O') done = fd[h] = open(a, O_RDONLY);
    else if (what == 'w') done = pwrite(fd[h], data, atoi(b), atoi(a));
    else if (what == 'a') done = write(fd[h], data, atoi(b));
    else if (what == 't') done = ftruncate(fd[h], atoi(a));
    else if (what == 'f') done = fsync(fd[h]);
    else if (what == 'd') done = fdatasync(fd[h]);
    else if (what == 'r') done = sync_file_range(fd[h], 0, 0, 7);
    else if (what == 'N') done = rename(a, b);
    else if (what == 'U') done = unlink(a);
    else if (what == 'M') done = mkdir(a, 0700);
    else if (what == 'L') done = symlink(a, b);
    else if (what == 'p') done = socketpair(AF_UNIX, SOCK_STREAM, 0, fd + h);
    else if (what == 's') done = send(fd[h], a, strlen(a), 0);
    else return 2;
    printf("%d\n", done < 0 ? errno : 0);
    fflush(stdout);
  }
}
