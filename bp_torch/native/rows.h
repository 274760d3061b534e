// What a step does besides products, on matrices of padded rows: see products.h.

#include <cstring>
#include <initializer_list>

// Declared here rather than by <cmath>, so that glibc's vector versions may stand in (accurate to 4 units in the last place).
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 35)
#define SIMD __attribute__((simd("notinbranch")))
#endif
#endif
#ifndef SIMD
#define SIMD
#endif
#define FUNCTION(name)                           \
  extern "C" SIMD float name##f(float) noexcept; \
  extern "C" SIMD double name(double) noexcept;  \
  INLINE float name(float v) { return name##f(v); }
FUNCTION(exp)
FUNCTION(expm1)
FUNCTION(log)
FUNCTION(log1p)
FUNCTION(tanh)
FUNCTION(erf)
FUNCTION(sin)
FUNCTION(cos)
INLINE real sqrt(real v) { return sizeof(real) == 4 ? __builtin_sqrtf(v) : __builtin_sqrt(v); }
INLINE real square(real v) { return v * v; }
INLINE real abs(real v) { return sizeof(real) == 4 ? __builtin_fabsf(v) : __builtin_fabs(v); }
INLINE real sign(real v) { return real(v > 0) - real(v < 0); }
INLINE real larger(real a, real b) { return a > b || a != a ? a : b; }  // NaN stays NaN
INLINE real smaller(real a, real b) { return a < b || a != a ? a : b; }

constexpr int64_t most(std::initializer_list<int64_t> values) {
  int64_t found = 0;
  for (int64_t value : values) found = value > found ? value : found;
  return found;
}

// rows of x, of N elements each, one after the other, into padded rows; who gathers, meets the others afterwards
template <int M, int N> static void gather(const real* x, const int64_t* order, real* out) {
  SHARED(i, M) memcpy(out + i * pad(N), x + order[i] * N, N * sizeof(real));
}

// rows of N elements, one after the other in memory, as padded rows: where they are, or copied into the room
template <int M, int N> INLINE const real* padded_rows(const real* x, real* room) {
  if constexpr (pad(N) == N) return x;
  for (int i = 0; i < M; i++) memcpy(room + i * pad(N), x + i * N, N * sizeof(real));
  return room;
}

// numbers of x, one after the other, into a row
template <int M> static void gather(const real* x, const int64_t* order, real* out) {
  SHARED(i, M) out[i] = x[order[i]];
}

template <int M, int N> INLINE void prefetch(const real* x, const int64_t* order) {
  if constexpr (int64_t(M) * N * sizeof(real) <= (64 << 10))
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j += 64 / sizeof(real)) __builtin_prefetch(x + order[i] * N + j);
}

// Σ_i delta_i: then(0, j, sums) gets the vector from column j on, as in product_tn
template <int M, int N, typename Then, typename... Matrices>
static void sum_rows(const real* delta, Then then, Matrices...) {
  SHARED(vector, (N + W - 1) / W) {
    const int j = vector * W;
    vec sums = {};
    for (int i = 0; i < M; i++) sums += load(delta + i * pad(N) + j);
    then(0, j, (const real*)&sums);
  }
  meet();
}

// b += factor Σ_i delta_i
template <int M, int N> static void add_rows(const real* delta, real* b, real factor) {
  sum_rows<M, N>(delta, [=](int, int j, const real* sums) { store(b + j, load(b + j) + factor * load(sums)); });
}

// of what lies behind a row's columns, what is in the vector from column j on: the one after it may be another thread's
template <int N> INLINE void clear(real* row, int j) {
  for (int k = j > N ? j : N; k < j + W; k++) row[k] = 0;
}

template <int N> INLINE void clear(real* row) {
  for (int j = N; j < pad(N); j++) row[j] = 0;
}

template <int N> INLINE real largest(const real* row) {
  real most = row[0];
  for (int j = 1; j < N; j++) most = larger(row[j], most);
  return most;
}

// shifts (2, M): its first row becomes each row's largest z plus ln Σ exp(z − the largest), which log_softmax subtracts
template <int M, int N> static void softmax(const real* z, real* a, real* shifts) {
  SHARED(i, M) {
    const real *from = z + i * pad(N), most = largest<N>(from);
    real* to = a + i * pad(N);
    real sum = 0;
#pragma GCC ivdep
    for (int j = 0; j < pad(N); j++) to[j] = exp(from[j] - most);
    for (int j = 0; j < N; j++) sum += to[j];
    for (int j = 0; j < N; j++) to[j] /= sum;
    clear<N>(to);
    shifts[i] = most;
    shifts[pad(M) + i] = sum;
  }
  meet();
  SHARED(part, (M + 63) / 64) {
    const int first = part * 64;
#pragma GCC ivdep
    for (int i = first; i < (first + 64 < M ? first + 64 : M); i++) shifts[i] += log(shifts[pad(M) + i]);
  }
  meet();
}

template <int M, int N> static void log_softmax(const real* z, const real* shifts, real* out) {
  SHARED(i, M)
    for (int j = 0; j < N; j++) out[i * pad(N) + j] = z[i * pad(N) + j] - shifts[i];
  meet();
}
