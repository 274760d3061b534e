// The first layer on sparse examples. An input that is not stored adds nothing to z, and its weights don't change: a δ is 0.
//
// The examples are compressed rows, in the caller's own memory; `place` is the type of their indices, and a row's columns
// are in order. w lies by its columns here, a padded row (N) for each of the K inputs, so that what a value meets is one
// stretch. Plain descent visits the values of a batch one after the other: each thread for neurons of its own, whose
// weights no other one reads or changes. A rule takes an input's whole gradient: the values are turned for it, so that
// they lie input by input.

struct Stored {  // row i has the columns and values from bounds[i] on, to before bounds[i + 1]
  const place* bounds;
  const place* columns;
  const real* values;
  int32_t* rows;  // room for a batch's values, and for which of its examples has each: see `turn`
  real* turned;
};
template <bool LAZY> struct Batch {  // LAZY: a rule changes the weights of those inputs alone that the batch uses
  const Stored* from;
  const int64_t* order;
};
template <int K> struct Turned {  // a batch, input by input
  static constexpr int words = (K + 63) / 64;
  uint64_t* bits;   // one for each input: whether it is used
  int64_t* before;  // how many of those before each word are
  int64_t* first;   // where the values of each that is used begin, and where the last one's end
  explicit Turned(real* room) : bits((uint64_t*)room), before((int64_t*)bits + words), first(before + words) {}
};
constexpr int64_t places(int, int K) { return pad((2 * ((K + 63) / 64) + K + 2) * (8 / sizeof(real))); }

#define UNROLL_ALL _Pragma("GCC unroll 16")
constexpr int LINE = 64 / sizeof(real), VECTORS = 64 / BYTES;           // elements and vectors of a line of the cache
constexpr int MOST_LINES = BYTES == 64 ? 8 : BYTES == 32 ? 7 : 3;  // of a tile, whose sums stay in registers
constexpr int AHEAD = 6;                                           // values: that long before are weights asked for

template <int L, typename Each> INLINE void with_vectors(int lines, Each each) {
  if constexpr (L > 1)
    if (lines < L) return with_vectors<L - 1>(lines, each);
  each(Size<L * VECTORS>{});
}

// each(V, j): V vectors of a row (N) from neuron j on, for the lines from `begin` to before `end`
template <int N, typename Each> INLINE void with_tiles(int begin, int end, Each each) {
  constexpr int all = pad(N) / LINE;
  const int lines = end - begin, tiles = (lines + MOST_LINES - 1) / MOST_LINES;
  for (int tile = 0; tile < tiles; tile++) {
    const int from = begin + lines * tile / tiles, to = begin + lines * (tile + 1) / tiles;
    with_vectors<(all < MOST_LINES ? all : MOST_LINES)>(to - from, [=](auto V) { each(V, from * LINE); });
  }
}

// z (M, V vectors) = Σ_k x_k w_k over what each row stores
template <int V>
CONTRACTED static void stored_tile(int M, const Stored& x, const int64_t* order, const real* w, int64_t ldw, real* z) {
  for (int i = 0; i < M; i++) {
    const int64_t end = x.bounds[order[i] + 1];
    vec sums[V] = {};
    for (int64_t k = x.bounds[order[i]]; k < end; k++) {
      const real *ws = w + x.columns[k] * ldw, *later = w + x.columns[k + AHEAD < end ? k + AHEAD : end - 1] * ldw;
      for (int v = 0; v < V; v += VECTORS) __builtin_prefetch(later + v * W);
      vec xs = x.values[k] - vec{};
      UNROLL_ALL for (int v = 0; v < V; v++) sums[v] += xs * load(ws + v * W);
    }
    UNROLL_ALL for (int v = 0; v < V; v++) store(z + i * ldw + v * W, sums[v]);
  }
}

// w_k (V vectors) += x_k δ for what each row stores
template <int V>
CONTRACTED static void stored_update(int M, const Stored& x, const int64_t* order, const real* delta, real* w, int64_t ldw) {
  for (int i = 0; i < M; i++) {
    const int64_t end = x.bounds[order[i] + 1];
    vec deltas[V];
    UNROLL_ALL for (int v = 0; v < V; v++) deltas[v] = load(delta + i * ldw + v * W);
    for (int64_t k = x.bounds[order[i]]; k < end; k++) {
      real* ws = w + x.columns[k] * ldw;
      vec xs = x.values[k] - vec{};
      UNROLL_ALL for (int v = 0; v < V; v++) store(ws + v * W, load(ws + v * W) + xs * deltas[v]);
    }
  }
}

// sums (V vectors) = Σ x δ over n values, of the examples `rows`
template <int V>
CONTRACTED static void stored_sums(int64_t n, const int32_t* rows, const real* values, const real* delta, int64_t ldd, real* to) {
  vec sums[V] = {};
  for (int64_t k = 0; k < n; k++) {
    vec xs = values[k] - vec{};
    UNROLL_ALL for (int v = 0; v < V; v++) sums[v] += xs * load(delta + rows[k] * ldd + v * W);
  }
  UNROLL_ALL for (int v = 0; v < V; v++) store(to + v * W, sums[v]);
}

template <int M, int K> INLINE void prefetch_stored(const Stored* from, const int64_t* order) {
  for (int i = 0; i < M; i++) {
    const int64_t first = from->bounds[order[i]], end = from->bounds[order[i] + 1];
    const char *columns = (const char*)(from->columns + first), *values = (const char*)(from->values + first);
    for (const char* p = columns; p < (const char*)(from->columns + end); p += 64) __builtin_prefetch(p);
    for (const char* p = values; p < (const char*)(from->values + end); p += 64) __builtin_prefetch(p);
  }
}

// the batch input by input: counted by the bits before each, and those of one input in the order of the examples
template <int M, int K> static void turn(const Stored& x, const int64_t* order, const Turned<K>& to) {
  const auto each = [&](auto value) {
    for (int i = 0; i < M; i++)
      for (int64_t k = x.bounds[order[i]]; k < x.bounds[order[i] + 1]; k++) value(i, k, x.columns[k] / 64, x.columns[k] % 64);
  };
  const auto rank = [&](int word, int bit) { return to.before[word] + __builtin_popcountll(to.bits[word] & ((1ull << bit) - 1)); };
  memset(to.bits, 0, to.words * sizeof(uint64_t));
  each([&](int, int64_t, int word, int bit) { to.bits[word] |= 1ull << bit; });
  int64_t used = 0;
  for (int word = 0; word < to.words; word++) {
    to.before[word] = used;
    used += __builtin_popcountll(to.bits[word]);
  }
  memset(to.first, 0, (used + 2) * sizeof(int64_t));
  each([&](int, int64_t, int word, int bit) { to.first[rank(word, bit) + 2]++; });
  for (int64_t k = 2; k <= used; k++) to.first[k] += to.first[k - 1];
  each([&](int i, int64_t k, int word, int bit) {
    const int64_t at = to.first[rank(word, bit) + 1]++;
    x.rows[at] = i;
    x.turned[at] = x.values[k];
  });
}

// z (M, N) = x (M, K) w, with w (K, N)
template <int M, int N, int K, bool LAZY>
static void product_stored(Batch<LAZY> x, const real*, const real* w, real* z) {
  with_tiles<N>(part_begin(pad(N) / LINE), part_end(pad(N) / LINE),
                [=](auto V, int j) { stored_tile<V.value>(M, *x.from, x.order, w + j, pad(N), z + j); });
  meet();
}

// w (K, N) += xᵀ δ
template <int M, int N, int K, bool LAZY>
static void update_stored(Batch<LAZY> x, real*, const real* delta, real* w) {
  with_tiles<N>(part_begin(pad(N) / LINE), part_end(pad(N) / LINE),
                [=](auto V, int j) { stored_update<V.value>(M, *x.from, x.order, delta + j, w + j, pad(N)); });
  meet();
}

// A function of its own: within the loop over a word's inputs, GCC 12 computes `then` element by element.
template <int N, typename Then> static __attribute__((noinline)) void with_row(int k, const real* sums, Then then) {
  for (int j = 0; j < N; j += W) then(k, j, sums + j);
}

// xᵀ δ (K, N), of which no more than a row lies in memory: then(k, j, sums) gets input k's vector from neuron j on
template <int M, int N, int K, bool LAZY, typename Then, typename... Matrices>
static void update_stored(Batch<LAZY> x, real* room, const real* delta, Then then, Matrices... changed) {
  const Turned<K> turned(room);
  if (is_first()) turn<M, K>(*x.from, x.order, turned);
  meet();
  SHARED(word, turned.words) {
    int64_t at = turned.before[word];
    if constexpr (LAZY)  // what is used lies apart: it is asked for while the word before it is at work
      for (uint64_t bits = word + 1 < turned.words ? turned.bits[word + 1] : 0; bits; bits &= bits - 1)
        for (int64_t j = (word * 64 + 64 + __builtin_ctzll(bits)) * pad(N), end = j + pad(N); j < end; j += LINE)
          (__builtin_prefetch(changed + j, 1), ...);
    for (int k = word * 64; k < K && k < word * 64 + 64; k++) {
      const bool used = turned.bits[word] >> k % 64 & 1;
      if (LAZY && !used) continue;
      alignas(64) real sums[pad(N)] = {};
      if (used) {
        const int64_t first = turned.first[at], n = turned.first[++at] - first;
        with_tiles<N>(0, pad(N) / LINE, [&, first, n](auto V, int j) {
          stored_sums<V.value>(n, x.from->rows + first, x.from->turned + first, delta + j, pad(N), sums + j);
        });
      }
      with_row<N>(k, sums, then);
    }
  }
  meet();
}
