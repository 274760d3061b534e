// Matrix products for one CPU, in the three forms that backpropagation needs: z = a wᵀ, δw and w += δᵀa.
//
// Matrices are row by row, and a row is padded with zeros to whole lines of the cache, `pad(columns)` elements. A tile of the
// result is kept in registers while the product's inner dimension runs past it, after K. Goto and R. van de Geijn,
// "Anatomy of High-Performance Matrix Multiplication" (2008); the dot form needs no packing, as both rows run along k.
// `real` is defined by whoever includes this. Each product is shared among the threads of the team: see team.h.

#if defined(__AVX512F__)  // 32 registers of 64 bytes
constexpr int BYTES = 64, DOT_I = 5, DOT_J = 5, OUTER_I = 6, OUTER_V = 4;
#elif defined(__AVX__)  // 16 of 32
constexpr int BYTES = 32, DOT_I = 3, DOT_J = 4, OUTER_I = 4, OUTER_V = 3;
#else  // SSE2 or NEON
constexpr int BYTES = 16, DOT_I = 3, DOT_J = 4, OUTER_I = 4, OUTER_V = 3;
#endif
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

// Products may round a b + c once. All else rounds each operation, as torch's kernels do: -ffp-contract=off.
#if defined(__clang__)
#define CONTRACTED
#pragma clang fp contract(fast)
#else
#define CONTRACTED __attribute__((optimize("fp-contract=fast")))
#endif

typedef real vec __attribute__((vector_size(BYTES)));
typedef real unaligned_vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
constexpr int W = BYTES / sizeof(real);    // elements of a vector
constexpr int P = OUTER_V * W;             // columns of a panel
constexpr int K_BLOCK = 4096 / sizeof(real);  // of the dot form: a tile's rows stay in the first cache
constexpr int PANEL_ROWS = 128;            // of the outer form: a packed panel stays in the first cache

constexpr int64_t pad(int64_t columns) {  // to 64 bytes, the widest vector and a line of the cache
  constexpr int64_t line = 64 / sizeof(real);
  return (columns + line - 1) / line * line;
}
constexpr int panels(int64_t columns) { return (pad(columns) + P - 1) / P; }
constexpr int vectors(int64_t columns, int panel) {  // in this panel
  return panel + 1 < panels(columns) ? OUTER_V : (pad(columns) - panel * P) / W;
}
constexpr int part_of(int rows, int panels) {  // how many rows of a panel's product a thread takes
#if defined(THREADS)
  const int parts = (3 + panels) / panels, part = (rows + parts - 1) / parts;
  return part < 8 * OUTER_I ? rows < 8 * OUTER_I ? rows : 8 * OUTER_I : (part + OUTER_I - 1) / OUTER_I * OUTER_I;
#else
  return rows;
#endif
}
INLINE vec load(const real* p) { return *(const unaligned_vec*)p; }
INLINE void store(real* p, vec v) { *(unaligned_vec*)p = v; }

template <int N> INLINE real sum_of(const real* v) {  // in pairs
  if constexpr (N == 1) {
    return v[0];
  } else if constexpr (N == 2) {
    return v[0] + v[1];
  } else {
    typedef real half __attribute__((vector_size(N / 2 * sizeof(real)), aligned(sizeof(real)), may_alias));
    half h = *(const half*)v + *(const half*)(v + N / 2);
    return sum_of<N / 2>((const real*)&h);
  }
}

// c (I, J) = or += a (I, K) b (J, K)ᵀ, K in whole vectors
template <int I, int J, bool ADD>
CONTRACTED static void dot_tile(int64_t K, const real* a, int64_t lda, const real* b, int64_t ldb, real* c, int64_t ldc) {
  vec sums[I][J] = {};
  for (int64_t k = 0; k < K; k += W) {
    vec bs[J];
    UNROLL for (int j = 0; j < J; j++) bs[j] = load(b + j * ldb + k);
    UNROLL for (int i = 0; i < I; i++) {
      vec as = load(a + i * lda + k);
      UNROLL for (int j = 0; j < J; j++) sums[i][j] += as * bs[j];
    }
  }
  UNROLL for (int i = 0; i < I; i++) {
    UNROLL for (int j = 0; j < J; j++) {
      real s = sum_of<W>((const real*)&sums[i][j]);
      c[i * ldc + j] = ADD ? c[i * ldc + j] + s : s;
    }
  }
}

template <int M, int J>
INLINE void dot_rows(bool add, int64_t K, const real* a, int64_t lda, const real* b, int64_t ldb, real* c, int64_t ldc) {
  int i = 0;
  for (; i + DOT_I <= M; i += DOT_I)
    add ? dot_tile<DOT_I, J, true>(K, a + i * lda, lda, b, ldb, c + i * ldc, ldc)
        : dot_tile<DOT_I, J, false>(K, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
  if constexpr (M % DOT_I > 0)
    add ? dot_tile<M % DOT_I, J, true>(K, a + i * lda, lda, b, ldb, c + i * ldc, ldc)
        : dot_tile<M % DOT_I, J, false>(K, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
}

// c (I, V vectors) = or += Σ_k a[i·ai + k·ak] b (K, V vectors)
template <int I, int V, bool ADD>
CONTRACTED static void outer_tile(int64_t K, const real* a, int64_t ai, int64_t ak, const real* b, int64_t ldb, real* c,
                       int64_t ldc) {
  vec sums[I][V] = {};
  for (int64_t k = 0; k < K; k++) {
    vec bs[V];
    UNROLL for (int v = 0; v < V; v++) bs[v] = load(b + k * ldb + v * W);
    UNROLL for (int i = 0; i < I; i++) {
      vec as = a[i * ai + k * ak] - vec{};
      UNROLL for (int v = 0; v < V; v++) sums[i][v] += as * bs[v];
    }
  }
  UNROLL for (int i = 0; i < I; i++) {
    UNROLL for (int v = 0; v < V; v++) {
      real* p = c + i * ldc + v * W;
      store(p, ADD ? load(p) + sums[i][v] : sums[i][v]);
    }
  }
}

// of a row (N): no other number of vectors is compiled
template <int I, int N>
INLINE void outer_rows(bool add, int V, int64_t K, const real* a, int64_t ai, int64_t ak, const real* b, int64_t ldb,
                       real* c, int64_t ldc) {
  if constexpr (pad(N) >= P)
    if (V == OUTER_V)
      return add ? outer_tile<I, OUTER_V, true>(K, a, ai, ak, b, ldb, c, ldc)
                 : outer_tile<I, OUTER_V, false>(K, a, ai, ak, b, ldb, c, ldc);
  if constexpr (pad(N) % P > 0)
    for (int v = 0; v < V; v++)
      add ? outer_tile<I, 1, true>(K, a, ai, ak, b + v * W, ldb, c + v * W, ldc)
          : outer_tile<I, 1, false>(K, a, ai, ak, b + v * W, ldb, c + v * W, ldc);
}

INLINE void pack(int64_t rows, int V, const real* b, int64_t ldb, real* panel) {
  for (int64_t k = 0; k < rows; k++)
    for (int v = 0; v < V; v++) store(panel + (k * V + v) * W, load(b + k * ldb + v * W));
}

// As pack, of the transpose of b (columns, rows); what its last vector is short of are zeros
INLINE void pack_transposed(int rows, int V, int columns, const real* b, int64_t ldb, real* panel) {
  for (int first = 0; first < V * W; first += W)
    for (int k = 0; k < rows; k += W)
      for (int j = first; j < first + W; j++)
        for (int r = k; r < k + W; r++) panel[r * V * W + j] = j < columns ? b[j * ldb + r] : 0;
}

// c (M, N) = a (M, K) b, where b is (K, N), or as TRANSPOSED (N, K)
template <int M, int N, int K, bool TRANSPOSED> INLINE void product_outer(const real* a, const real* b, real* c) {
  constexpr int64_t lda = pad(K), ldb = pad(TRANSPOSED ? K : N), ldc = pad(N);
  constexpr bool packed = TRANSPOSED || M >= 4 * OUTER_I;  // below that, the copy costs more than it saves
  constexpr int part = part_of(M, panels(N));
  alignas(BYTES) real panel[packed ? PANEL_ROWS * P : 1];
  constexpr int parts = (M + part - 1) / part;
  SHARED(each, panels(N) * parts) {
    const int p = each / parts, first = each % parts * part;
    for (int k = 0; k < K; k += PANEL_ROWS) {
      const int V = vectors(N, p), rows = K - k < PANEL_ROWS ? K - k : PANEL_ROWS;
      const real *as = a + k, *bs = TRANSPOSED ? b + p * P * ldb + k : b + k * ldb + p * P;
      if constexpr (TRANSPOSED) pack_transposed(rows, V, N - p * P, bs, ldb, panel);
      else if constexpr (packed) pack(rows, V, bs, ldb, panel);
      const real* from = packed ? panel : bs;
      const int64_t ld = packed ? V * W : ldb;
      int i = first;
      for (; i < first + part && i + OUTER_I <= M; i += OUTER_I)
        outer_rows<OUTER_I, N>(K > PANEL_ROWS && k > 0, V, rows, as + i * lda, lda, 1, from, ld, c + i * ldc + p * P, ldc);
      if constexpr (M % OUTER_I > 0)
        if (i < first + part)
          outer_rows<M % OUTER_I, N>(K > PANEL_ROWS && k > 0, V, rows, as + i * lda, lda, 1, from, ld, c + i * ldc + p * P, ldc);
    }
  }
  meet();
}

// c (M, N) = a (M, K) b (K, N)
template <int M, int N, int K> static void product_nn(const real* a, const real* b, real* c) {
  product_outer<M, N, K, false>(a, b, c);
}

// c (M, N) = a (M, K) b (N, K)ᵀ
template <int M, int N, int K> static void product_nt(const real* a, const real* b, real* c) {
  // In vectors: the outer form multiplies whole ones and transposes b, the dot form adds up the elements of each sum.
  constexpr int64_t outer = M * (pad(N) / W) * int64_t(K) + pad(N) * pad(K), dot = int64_t(M) * N * (pad(K) / W + 4);
  if constexpr (outer < dot) return product_outer<M, N, K, true>(a, b, c);
  constexpr int64_t ldk = pad(K), ldc = pad(N);
  SHARED(tile, (N + DOT_J - 1) / DOT_J) {
    const int j = tile * DOT_J;
    for (int64_t k = 0; k < ldk; k += K_BLOCK) {
      const int64_t block = ldk - k < K_BLOCK ? ldk - k : K_BLOCK;
      if (j + DOT_J <= N) dot_rows<M, DOT_J>(ldk > K_BLOCK && k > 0, block, a + k, ldk, b + j * ldk + k, ldk, c + j, ldc);
      else if constexpr (N % DOT_J > 0)
        dot_rows<M, N % DOT_J>(ldk > K_BLOCK && k > 0, block, a + k, ldk, b + j * ldk + k, ldk, c + j, ldc);
    }
  }
  meet();
}

constexpr bool packs(int M, int K) { return K >= 32 && M >= 4 * OUTER_I; }

template <int N> struct Size { static constexpr int value = N; };

// Tile by tile of (M, N) = a (K, M)ᵀ b (K, N), each(I, V, sum, i, j): I rows from row i on, V vectors from column j on.
// sum(add, c, ldc) adds the tile to c, or writes it there. scratch has room for b's panels, K · panels(N) · P elements.
// changed: the matrices (M, N) of which `each` reads and writes what is the tile's.
template <int M, int N, int K, typename Each, typename... Matrices>
INLINE void tiles_tn(const real* a, const real* b, real* scratch, Each each, Matrices... changed) {
  constexpr bool packed = packs(M, K), far = sizeof...(changed) * M * pad(N) * sizeof(real) >= 1 << 20;  // in the third cache
  if constexpr (packed) {
    SHARED(p, panels(N)) pack(K, vectors(N, p), b + p * P, pad(N), scratch + (int64_t)p * K * P);
    meet();
  }
  const auto rows = [=](auto I, int i) {
    for (int p = 0; p < panels(N); p++) {
      const int V = vectors(N, p);
      const real* bs = packed ? scratch + (int64_t)p * K * P : b + p * P;
      const auto sum = [=](bool add, real* c, int64_t ldc) {
        outer_rows<I.value, N>(add, V, K, a + i, 1, pad(M), bs, packed ? V * W : pad(N), c, ldc);
      };
      if constexpr (far)
        for (int row = i + I.value; row < i + 2 * I.value && row < M; row++)  // of the tile below, long enough before it
          for (int v = 0; v < V; v++) (__builtin_prefetch(changed + row * pad(N) + p * P + v * W, 0, 2), ...);
      each(I, V, sum, i, p * P);
    }
  };
  SHARED(tile, (M + OUTER_I - 1) / OUTER_I) {
    const int i = tile * OUTER_I;
    if (i + OUTER_I <= M) rows(Size<OUTER_I>{}, i);
    else if constexpr (M % OUTER_I > 0) rows(Size<M % OUTER_I>{}, i);
  }
  meet();
}

// c (M, N) += a (K, M)ᵀ b (K, N)
template <int M, int N, int K> static void product_tn(const real* a, const real* b, real* scratch, real* c) {
  const auto add = [=](auto I, int V, auto sum, int i, int j) { sum(true, c + i * pad(N) + j, pad(N)); };
  tiles_tn<M, N, K>(a, b, scratch, add, c);
}

// a (K, M)ᵀ b (K, N), of which no more than a tile lies in memory: then(i, j, sums) gets row i's vector from column j on
template <int M, int N, int K, typename Then, typename... Matrices>
static void product_tn(const real* a, const real* b, real* scratch, Then then, Matrices... changed) {
  const auto each = [=](auto I, int V, auto sum, int i, int j) {
    alignas(BYTES) real tile[I.value * P];
    sum(false, tile, P);
    for (int row = 0; row < I.value; row++)
      for (int v = 0; v < V; v++) then(i + row, j + v * W, tile + row * P + v * W);
  };
  tiles_tn<M, N, K>(a, b, scratch, each, changed...);
}

struct Into {  // writes the vectors to a matrix
  real* c;
  int64_t ldc;
  void operator()(int i, int j, const real* sums) const { store(c + i * ldc + j, load(sums)); }
};

#if defined(__clang__)
#pragma clang fp contract(off)
#endif
