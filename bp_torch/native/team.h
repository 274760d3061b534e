// The threads that run the steps together: each has a part of every loop, and all meet behind it.
//
// Who waits for the others looks out for them for a moment, and then sleeps. So where another process has taken a core,
// the thread that all wait for finds another one free. After the steps the threads end: a process may fork then.

#include <cstdint>

#if defined(THREADS)
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

constexpr int LOOKS = 2000;  // some ten microseconds
struct Team {
  int count, arrived, meetings, asleep;
};
static thread_local Team* team;
static thread_local int self;

static inline int seen(const int* p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void look_away() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
static void meet() {
  Team& all = *team;
  const int before = seen(&all.meetings);
  if (__atomic_add_fetch(&all.arrived, 1, __ATOMIC_SEQ_CST) == seen(&all.count)) {
    __atomic_store_n(&all.arrived, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&all.meetings, before + 1, __ATOMIC_SEQ_CST);
    if (seen(&all.asleep)) syscall(SYS_futex, &all.meetings, FUTEX_WAKE_PRIVATE, all.count, nullptr, nullptr, 0);
    return;
  }
  for (int k = 0; k < LOOKS; k++) {
    if (seen(&all.meetings) != before) return;
    look_away();
  }
  __atomic_add_fetch(&all.asleep, 1, __ATOMIC_SEQ_CST);
  while (seen(&all.meetings) == before)
    syscall(SYS_futex, &all.meetings, FUTEX_WAIT_PRIVATE, before, nullptr, nullptr, 0);
  __atomic_sub_fetch(&all.asleep, 1, __ATOMIC_SEQ_CST);
}
static inline bool is_first() { return self == 0; }
static inline int part_begin(int64_t n) { return n * self / team->count; }
static inline int part_end(int64_t n) { return n * (self + 1) / team->count; }

// runs `work` on so many threads, or as many as the system gives
template <typename Work> static void together(int threads, Work work) {
  struct Member {
    Team* all;
    Work* work;
    int number;
    pthread_t thread;
  };
  constexpr int MOST = 1024;
  static_assert(sizeof(Member) * MOST < 1 << 16);
  Team all = {threads, 0, 0, 0};
  Member members[MOST];
  int count = 1;
  for (; count < threads; count++) {
    members[count] = {&all, &work, count};
    void* (*const run)(void*) = [](void* given) -> void* {
      Member& me = *(Member*)given;
      team = me.all;
      self = me.number;
      meet();  // until all are there, and their number is known
      (*me.work)();
      return nullptr;
    };
    if (pthread_create(&members[count].thread, nullptr, run, &members[count])) break;
  }
  __atomic_store_n(&all.count, count, __ATOMIC_SEQ_CST);
  team = &all;
  self = 0;
  meet();
  work();
  for (int k = 1; k < count; k++) pthread_join(members[k].thread, nullptr);
}

// runs work(part, who) for each part, which takes no part in a loop of others: who is free takes the next one
template <typename Work> static void apart(int threads, int64_t parts, Work work) {
  int64_t next = 0;
  together(threads, [&] {
    const int who = self;
    Team alone = {1, 0, 0, 0};
    team = &alone;
    self = 0;
    for (int64_t part; (part = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < parts;) work(part, who);
  });
}
#else
static inline void meet() {}
static inline bool is_first() { return true; }
static inline int part_begin(int64_t) { return 0; }
static inline int part_end(int64_t n) { return n; }
template <typename Work> static void together(int, Work work) { work(); }
template <typename Work> static void apart(int, int64_t parts, Work work) {
  for (int64_t part = 0; part < parts; part++) work(part, 0);
}
#endif

#define SHARED(i, n) for (int i = part_begin(n), end_of_##i = part_end(n); i < end_of_##i; i++)
