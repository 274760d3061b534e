// The first layer without its inputs' zeros. An input that is 0 adds nothing to z, and its weights don't change: a δ is 0.
//
// A batch is seen in groups of a few examples; a tile of a group visits the inputs that one of them has, and multiplies
// them for all. With AVX-512 the examples are kept compressed: a bit for each input, and the values of those that are not 0.
// w lies by its columns here, a padded row (N) for each of the K inputs, so that an input's weights are one stretch.

#if defined(__AVX512F__)  // g++'s and clang's names of four instructions: to read <immintrin.h> takes as long as all else
typedef float floats __attribute__((vector_size(64)));
typedef double doubles __attribute__((vector_size(64)));
typedef int ints __attribute__((vector_size(64)));
// a bit for each element that is not 0, or is NaN
INLINE uint64_t active_in(vec v) {
  constexpr int not_equal = 4, rounding = 4;
  if (sizeof(real) == 4) return uint16_t(__builtin_ia32_cmpps512_mask((floats)v, floats{}, not_equal, 0xffff, rounding));
  return uint8_t(__builtin_ia32_cmppd512_mask((doubles)v, doubles{}, not_equal, 0xff, rounding));
}
INLINE vec collected(vec v, uint64_t some) {  // those elements, one after the other, then zeros
  if (sizeof(real) == 4) return (vec)__builtin_ia32_compresssf512_mask((floats)v, floats{}, some);
  return (vec)__builtin_ia32_compressdf512_mask((doubles)v, doubles{}, some);
}
INLINE ints collected(ints v, uint64_t some) { return (ints)__builtin_ia32_compresssi512_mask(v, ints{}, some); }
INLINE vec spread(vec v, uint64_t some) {  // the first elements, put to those places, with zeros between them
  if (sizeof(real) == 4) return (vec)__builtin_ia32_expandsf512_mask((floats)v, floats{}, some);
  return (vec)__builtin_ia32_expanddf512_mask((doubles)v, doubles{}, some);
}
#else
INLINE uint64_t active_in(vec v) {
#if defined(__AVX__)
  if (sizeof(real) == 4) return __builtin_ia32_movmskps256((float __attribute__((vector_size(32))))(v != vec{}));
  return __builtin_ia32_movmskpd256((double __attribute__((vector_size(32))))(v != vec{}));
#elif defined(__SSE2__)
  if (sizeof(real) == 4) return __builtin_ia32_movmskps((float __attribute__((vector_size(16))))(v != vec{}));
  return __builtin_ia32_movmskpd((double __attribute__((vector_size(16))))(v != vec{}));
#else
  uint64_t some = 0;
  const auto active = v != vec{};
  for (int l = 0; l < W; l++) some |= uint64_t(active[l] & (1 << l));
  return some;
#endif
}
struct Places {  // for each byte, the places of its bits, and how many there are
  unsigned char of[256][8] = {}, count[256] = {};
  constexpr Places() {
    for (int byte = 0; byte < 256; byte++)
      for (int bit = 0; bit < 8; bit++)
        if (byte >> bit & 1) of[byte][count[byte]++] = bit;
  }
};
static constexpr Places PLACES;
#endif

// Examples. Where the CPU can expand them, compressed: a row's bits are `words` numbers, its values begin at first[row],
// and 64 bytes are free behind the last. Elsewhere values are the rows as they are.
struct Rows {
  const uint64_t* bits;
  const real* values;
  const int64_t* first;
};
constexpr int GROUP = DOT_I, BLOCK = OUTER_V;  // at most so many examples, and vectors of neurons, have one tile
constexpr int words(int K) { return (K + 63) / 64; }
constexpr int groups(int M) { return (M + GROUP - 1) / GROUP; }
constexpr int blocks(int N) { return (pad(N) / W + BLOCK - 1) / BLOCK; }
constexpr int64_t places(int K) { return words(K) + 1 + K + 16; }  // of a group: where each word's columns begin; the columns
constexpr int64_t places(int M, int K) { return pad(groups(M) * places(K)); }  // a number is at most as wide as a real

// which of the rows of x (N) are not 0, and their values, as `Rows` has them
template <int N> static void compress_rows(const real* x, int64_t rows, uint64_t* bits, real* values, int64_t* first) {
  real* to = values;
  for (int64_t row = 0; row < rows; row++, x += N, bits += words(N)) {
    first[row] = to - values;
    for (int word = 0; word < words(N); word++) {
      const int end = N < word * 64 + 64 ? N : word * 64 + 64;
      uint64_t some = 0;
      int j = word * 64;
#if defined(__AVX512F__)  // elsewhere rows are not compressed
      for (; j + W <= end; j += W) {
        const vec values = load(x + j);
        const uint64_t active = active_in(values);
        store(to, collected(values, active));
        some |= active << (j - word * 64);
        to += __builtin_popcountll(active);
      }
#endif
      for (; j < end; j++) {
        const bool active = x[j] != 0;
        some |= uint64_t(active) << (j - word * 64);
        *to = x[j];
        to += active;
      }
      bits[word] = some;
    }
  }
  first[rows] = to - values;
}

// of the group g: where each word's columns begin in the list that follows, and where the last one's end
template <int K> INLINE const int32_t* columns_of(const real* active, int g) { return (const int32_t*)active + g * places(K); }

// each(size, g, its first example) for the group g: the sizes differ by one at most
template <int M, typename Each> INLINE void with_group(int g, Each each) {
  constexpr int least = M / groups(M), more = M % groups(M);
  const int first = g * least + (g < more ? g : more);
  if constexpr (more > 0)
    if (g < more) return each(Size<least + 1>{}, g, first);
  each(Size<least>{}, g, first);
}

// each(V) for a block of a row (N), of which so many vectors are left
template <int N, typename Each> INLINE void with_vectors(int left, Each each) {
  constexpr int all = pad(N) / W, last = all % BLOCK;  // no other number of vectors is compiled
  if constexpr (all >= BLOCK)
    if (left >= BLOCK) return each(Size<BLOCK>{});
  if constexpr (last > 0) each(Size<last>{});
}

// the places, from j on, of the bits of `any`; how many
INLINE int list_places(uint64_t any, int j, int32_t* list) {
  int n = 0;
#if defined(__AVX512F__)
  for (int k = 0; k < 64; k += 16) {
    const uint16_t some = any >> k;
    const ints at = ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + (j + k), found = collected(at, some);
    memcpy(list + n, &found, sizeof(found));
    n += __builtin_popcount(some);
  }
#else
  typedef unsigned char bytes8 __attribute__((vector_size(8)));
  typedef int ints8 __attribute__((vector_size(32)));
  for (int k = 0; k < 64; k += 8) {
    const unsigned char some = any >> k;
    bytes8 at;
    memcpy(&at, PLACES.of[some], 8);
    const ints8 found = __builtin_convertvector(at, ints8) + (j + k);
    memcpy(list + n, &found, sizeof(found));
    n += PLACES.count[some];
  }
#endif
  return n;
}

// which of the 64 elements of a padded row of K from column j on are not 0
template <int K> INLINE uint64_t active_bits(const real* x, int j) {
  uint64_t some = 0;
  for (int k = 0; k < 64 && j + k < pad(K); k += W) some |= active_in(load(x + j + k)) << k;
  return some;
}

// of I padded rows: the columns that are not 0 in one of them, as `places` has them
template <int I, int K> INLINE void find_places(const real* x, int32_t* starts) {
  int32_t* list = starts + words(K) + 1;
  int n = starts[0] = 0;
  for (int j = 0; j < K; j += 64) {
    uint64_t any = 0;
    UNROLL for (int i = 0; i < I; i++) any |= active_bits<K>(x + i * pad(K), j);
    starts[j / 64 + 1] = n += list_places(any, j, list + n);
  }
}

// the same for each group of the padded rows x (M, K)
template <int M, int K> static void find_active(const real* x, real* lists) {
  SHARED(group, groups(M))
    with_group<M>(group, [=](auto I, int g, int first) {
      find_places<I.value, K>(x + first * pad(K), (int32_t*)lists + g * places(K));
    });
  meet();
}

#if defined(__AVX512F__)
extern "C" int is_compressed() { return 1; }

// A word's columns of I rows, written out with their zeros; the rows' next values; into list those of any, from column j on
template <int I, int K> INLINE int expand(int j, const uint64_t* const* bits, const real** values, real* x, int32_t* list) {
  uint64_t any = 0;
  UNROLL for (int i = 0; i < I; i++) any |= bits[i][j / 64];
  for (int k = j; k < j + 64 && k < pad(K); k += W)
    UNROLL for (int i = 0; i < I; i++) {
      const auto some = (bits[i][j / 64] >> (k - j)) & (~0ull >> (64 - W));
      real* to = x + i * pad(K) + k;
      store(to, spread(load(values[i]), some));
      values[i] += __builtin_popcountll(some);
    }
  return list_places(any, j, list);
}

// the batch's rows (M, K), and for each group its columns: see `places`
template <int M, int K> static void gather_active(const Rows* from, const int64_t* order, real* x, real* lists) {
  int32_t* active = (int32_t*)lists;
  SHARED(group, groups(M))
    with_group<M>(group, [=](auto I, int g, int first) {
      const uint64_t* bits[I.value];
      const real* values[I.value];
      for (int i = 0; i < I.value; i++) {
        const int64_t row = order[first + i];
        bits[i] = from->bits + row * words(K);
        values[i] = from->values + from->first[row];
      }
      int32_t *starts = active + g * places(K), *list = starts + words(K) + 1;
      int n = starts[0] = 0;
      for (int j = 0; j < K; j += 64)
        starts[j / 64 + 1] = n += expand<I.value, K>(j, bits, values, x + first * pad(K), list + n);
    });
}

template <int M, int K> INLINE void prefetch_active(const Rows* from, const int64_t* order) {
  if constexpr (int64_t(M) * K * sizeof(real) <= (512 << 10))  // of which the compressed rows are a part
    for (int i = 0; i < M; i++) {
      const char *bits = (const char*)(from->bits + order[i] * words(K)), *end = (const char*)(from->values + from->first[order[i] + 1]);
      for (int64_t j = 0; j < words(K) * 8 + 63; j += 64) __builtin_prefetch(bits + j);
      for (const char* p = (const char*)(from->values + from->first[order[i]]); p < end; p += 64) __builtin_prefetch(p);
    }
}

#else
extern "C" int is_compressed() { return 0; }

template <int M, int K> static void gather_active(const Rows* from, const int64_t* order, real* x, real* lists) {
  SHARED(group, groups(M))
    with_group<M>(group, [=](auto I, int g, int first) {
      for (int i = first; i < first + I.value; i++) memcpy(x + i * pad(K), from->values + order[i] * K, K * sizeof(real));
      find_places<I.value, K>(x + first * pad(K), (int32_t*)lists + g * places(K));
    });
}

template <int M, int K> INLINE void prefetch_active(const Rows* from, const int64_t* order) { prefetch<M, K>(from->values, order); }
#endif

// c (I, V vectors) = Σ_k x[i, list[k]] w[list[k]]
template <int I, int V>
CONTRACTED static void active_tile(int n, const int32_t* list, const real* x, int64_t ldx, const real* w, int64_t ldw, real* c) {
  vec sums[I][V] = {};
  for (int k = 0; k < n; k++) {
    const int64_t column = list[k];
    vec ws[V];
    UNROLL for (int v = 0; v < V; v++) ws[v] = load(w + column * ldw + v * W);
    UNROLL for (int i = 0; i < I; i++) {
      vec xs = x[i * ldx + column] - vec{};
      UNROLL for (int v = 0; v < V; v++) sums[i][v] += xs * ws[v];
    }
  }
  UNROLL for (int i = 0; i < I; i++) {
    UNROLL for (int v = 0; v < V; v++) store(c + i * ldw + v * W, sums[i][v]);
  }
}

// c[list[k] - base] (V vectors) += Σ_i x[i, list[k]] δ_i
template <int I, int V>
CONTRACTED static void active_update(int n, const int32_t* list, const real* x, int64_t ldx, const real* delta, int64_t ldd,
                                     real* c, int64_t ldc, int base) {
  vec deltas[I][V];
  UNROLL for (int i = 0; i < I; i++) {
    UNROLL for (int v = 0; v < V; v++) deltas[i][v] = load(delta + i * ldd + v * W);
  }
  for (int k = 0; k < n; k++) {
    const int64_t column = list[k];
    vec sums[V];
    UNROLL for (int v = 0; v < V; v++) sums[v] = load(c + (column - base) * ldc + v * W);
    UNROLL for (int i = 0; i < I; i++) {
      vec xs = x[i * ldx + column] - vec{};
      UNROLL for (int v = 0; v < V; v++) sums[v] += xs * deltas[i][v];
    }
    UNROLL for (int v = 0; v < V; v++) store(c + (column - base) * ldc + v * W, sums[v]);
  }
}

// z (M, N) = x (M, K) w, with w (K, N)
template <int M, int N, int K> static void product_active(const real* x, const real* active, const real* w, real* z) {
  SHARED(tile, blocks(N) * groups(M)) {
    const int at = tile / groups(M) * BLOCK * W, left = (pad(N) - at) / W;
    with_group<M>(tile % groups(M), [=](auto I, int g, int first) {
      with_vectors<N>(left, [=](auto V) {
        const int32_t *starts = columns_of<K>(active, g), *list = starts + words(K) + 1;
        active_tile<I.value, V.value>(starts[words(K)], list, x + first * pad(K), pad(K), w + at, pad(N),
                                      z + first * pad(N) + at);
      });
    });
  }
  meet();
}

// adds Σ_x x_k δ_x, for the columns k of some words and the vectors of neurons from `at` on, to c, which begins at column base
template <int M, int N, int K, int V>
INLINE void add_active(int word, int end, int at, const real* x, const real* active, const real* delta, real* c, int64_t ldc,
                       int base) {
  for (int g = 0; g < groups(M); g++)
    with_group<M>(g, [=](auto I, int g, int first) {
      const int32_t *starts = columns_of<K>(active, g), *list = starts + words(K) + 1;
      active_update<I.value, V>(starts[end] - starts[word], list + starts[word], x + first * pad(K), pad(K),
                                delta + first * pad(N) + at, pad(N), c, ldc, base);
    });
}

// w (K, N) += xᵀ δ
template <int M, int N, int K> static void update_active(const real* x, const real* active, const real* delta, real* w) {
  constexpr int span = groups(M) > 2 ? 1 : words(K);  // what is changed by several groups stays in the first cache
  constexpr int spans = (words(K) + span - 1) / span;
  SHARED(tile, blocks(N) * spans) {
    const int at = tile / spans * BLOCK * W, left = (pad(N) - at) / W, word = tile % spans * span;
    with_vectors<N>(left, [=](auto V) {
      add_active<M, N, K, V.value>(word, word + span, at, x, active, delta, w + at, pad(N), 0);
    });
  }
  meet();
}

// xᵀ δ (K, N), of which no more than a tile lies in memory: then(k, j, sums) gets input k's vector from neuron j on
template <int M, int N, int K, typename Then, typename... Matrices>
static void update_active(const real* x, const real* active, const real* delta, Then then, Matrices... changed) {
  constexpr bool far = sizeof...(changed) * K * pad(N) * sizeof(real) >= 1 << 20;  // in the third cache
  SHARED(part, blocks(N) * words(K)) {
    const int at = part / words(K) * BLOCK * W, left = (pad(N) - at) / W, word = part % words(K), base = word * 64;
    with_vectors<N>(left, [=](auto V) {
      alignas(BYTES) real tile[64 * V.value * W] = {};
      add_active<M, N, K, V.value>(word, word + 1, at, x, active, delta, tile, V.value * W, base);
      for (int k = base; k < K && k < base + 64; k++)
        for (int v = 0; v < V.value; v++) {
          if constexpr (far) (__builtin_prefetch(changed + (k + 8) * pad(N) + at + v * W, 0, 2), ...);
          then(k, at + v * W, tile + ((k - base) * V.value + v) * W);
        }
    });
  }
  meet();
}
