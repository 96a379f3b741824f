/* A process's wall clock, moved by the nanoseconds that stand in the file FAULT_CLOCK, while the machine's stays. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *moved;

__attribute__((constructor)) static void open_clock(void) {
  const char *name = getenv("FAULT_CLOCK");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *at = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) abort();
  moved = at;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int status = (int)syscall(SYS_clock_gettime, clock, time);
  if (status != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) || moved == NULL) return status;
  int64_t nanoseconds = time->tv_nsec + *moved % 1000000000;
  time->tv_sec += *moved / 1000000000 + (nanoseconds < 0 ? -1 : nanoseconds >= 1000000000);
  time->tv_nsec = (nanoseconds + 1000000000) % 1000000000;
  return 0;
}
