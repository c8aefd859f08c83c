// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cuBLASLt's functions, as far as the library uses them: products of floats, column by column, whose factors are
// rounded as the compute type says, or of bfloat16, with a result of either. What a workspace holds is spoilt, and what
// is promised of alignment is asked for.
#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "faults.hpp"
#include "machine.hpp"

struct cublasLtContext {
  int device;
};

namespace {

using namespace emulated;

constexpr std::size_t workspace_bytes = 4096;
constexpr std::uint64_t mark = 0x656d756c61746564;  // of an algorithm that the heuristic gave

std::uint32_t allowed_reductions = 0;

struct product {
  cublasComputeType_t compute;
  std::int32_t transpose_a = CUBLAS_OP_N;
  std::int32_t transpose_b = CUBLAS_OP_N;
  std::int32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* vector = nullptr;  ///< of the result's type
};
struct layout {
  bool bfloat16;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t stride;
};

float factor(float x, cublasComputeType_t compute) {
  return compute == CUBLAS_COMPUTE_32F_FAST_TF32   ? rounded(x, 13)
         : compute == CUBLAS_COMPUTE_32F_FAST_16BF ? rounded(x, 16)
                                                   : x;
}

template <class T>
const T& as(const void* p) {
  return *static_cast<const T*>(p);
}

/// `m` as rows that are read one after the other: op(m), or its transpose.
std::vector<float> lines(const elements& p, const layout& m, bool by_columns, cublasComputeType_t compute) {
  std::vector<float> all;
  all.reserve(static_cast<std::size_t>(m.rows * m.columns));
  for (std::int64_t i = 0; i < (by_columns ? m.columns : m.rows); ++i)
    for (std::int64_t j = 0; j < (by_columns ? m.rows : m.columns); ++j)
      all.push_back(factor(by_columns ? p[i * m.stride + j] : p[j * m.stride + i], compute));
  return all;
}

void multiply(const product& p, const layout& a_layout, const layout& b_layout, const layout& d_layout,
              const elements& a, const elements& b, const elements& d) {
  const bool ta = p.transpose_a == CUBLAS_OP_T;
  const bool tb = p.transpose_b == CUBLAS_OP_T;
  const std::int64_t k = ta ? a_layout.rows : a_layout.columns;
  const elements vector{p.vector, d_layout.bfloat16};
  const auto left = lines(a, a_layout, ta, p.compute);    // m lines of k
  const auto right = lines(b, b_layout, !tb, p.compute);  // n lines of k
  for (std::int64_t n = 0; n < d_layout.columns; ++n)
    for (std::int64_t m = 0; m < d_layout.rows; ++m) {
      const float* const l = left.data() + m * k;
      const float* const r = right.data() + n * k;
      std::array<double, 8> sums{};
      std::int64_t i = 0;
      for (; i + 8 <= k; i += 8)
        for (std::size_t lane = 0; lane < 8; ++lane)
          sums[lane] += double{l[i + static_cast<std::int64_t>(lane)]} * double{r[i + static_cast<std::int64_t>(lane)]};
      for (; i < k; ++i) sums[0] += double{l[i]} * double{r[i]};
      const double bias = p.epilogue == CUBLASLT_EPILOGUE_BIAS ? double{vector[m]} : 0;
      d.put(n * d_layout.stride + m, static_cast<float>(std::accumulate(sums.begin(), sums.end(), bias)));
    }
  if (p.epilogue != CUBLASLT_EPILOGUE_BGRADB) return;
  for (std::int64_t n = 0; n < d_layout.columns; ++n)
    vector.put(n, static_cast<float>(std::accumulate(right.data() + n * k, right.data() + (n + 1) * k, 0.0)));
}

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

unsigned emulated::last_reductions() {
  const lock held(machine::get().mutex);
  return allowed_reductions;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* to) {
  *to = new cublasLtContext{current_device()};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusName(cublasStatus_t status) {
  return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE" : "an emulated status";
}
std::size_t cublasLtGetVersion() { return 130000; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* to, cublasComputeType_t compute, cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *to = reinterpret_cast<cublasLtMatmulDesc_t>(new product{compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t descriptor) {
  delete reinterpret_cast<product*>(descriptor);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t descriptor, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t size) {
  auto& p = *reinterpret_cast<product*>(descriptor);
  const bool of_vector = attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER;
  if (size != (of_vector ? sizeof(void*) : sizeof(std::int32_t))) return CUBLAS_STATUS_INVALID_VALUE;
  if (of_vector)
    p.vector = as<void*>(value);
  else if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE)
    p.epilogue = as<std::int32_t>(value);
  else if (attribute == CUBLASLT_MATMUL_DESC_TRANSA)
    p.transpose_a = as<std::int32_t>(value);
  else if (attribute == CUBLASLT_MATMUL_DESC_TRANSB)
    p.transpose_b = as<std::int32_t>(value);
  else
    return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* to, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t stride) {
  if ((type != CUDA_R_32F && type != CUDA_R_16BF) || rows == 0 || columns == 0 ||
      stride < static_cast<std::int64_t>(rows))
    return CUBLAS_STATUS_INVALID_VALUE;
  *to = reinterpret_cast<cublasLtMatrixLayout_t>(
      new layout{type == CUDA_R_16BF, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), stride});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t m) {
  delete reinterpret_cast<layout*>(m);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* to) {
  *to = reinterpret_cast<cublasLtMatmulPreference_t>(new std::uint32_t{CUBLASLT_REDUCTION_SCHEME_MASK});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete reinterpret_cast<std::uint32_t*>(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t size) {
  const bool of_workspace = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
  if (size != (of_workspace ? sizeof(std::uint64_t) : sizeof(std::uint32_t))) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    *reinterpret_cast<std::uint32_t*>(p) = as<std::uint32_t>(value);
  return of_workspace && as<std::uint64_t>(value) < workspace_bytes ? CUBLAS_STATUS_NOT_SUPPORTED
                                                                    : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t descriptor,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t found[], int* count) {
  if (handle->device != current_device()) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (wanted < 2) return CUBLAS_STATUS_INVALID_VALUE;
  // Epilogues do not come with every shape; and where no address tells how their vector is aligned, it might be taken
  // for better than it will be.
  const auto& p = *reinterpret_cast<const product*>(descriptor);
  const auto& to = *reinterpret_cast<const layout*>(d);
  *count = 0;
  if (p.epilogue != CUBLASLT_EPILOGUE_DEFAULT && (to.columns % 3 == 0 || !fuses() || p.vector == nullptr))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const lock held(machine::get().mutex);
  allowed_reductions = *reinterpret_cast<const std::uint32_t*>(preference);
  // The first does not work, as it may happen.
  found[0] = {};
  found[0].state = CUBLAS_STATUS_NOT_SUPPORTED;
  found[1] = {};
  found[1].algo.data[0] = mark;
  found[1].workspaceSize = workspace_bytes;
  found[1].state = CUBLAS_STATUS_SUCCESS;
  *count = 2;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t descriptor, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t size,
                              cudaStream_t stream) {
  const lock held(machine::get().mutex);
  const auto& p = *reinterpret_cast<const product*>(descriptor);
  const auto at = [](cublasLtMatrixLayout_t m) { return *reinterpret_cast<const layout*>(m); };
  const layout la = at(a_layout);
  const layout lb = at(b_layout);
  const layout ld = at(d_layout);
  const bool ta = p.transpose_a == CUBLAS_OP_T;
  const bool tb = p.transpose_b == CUBLAS_OP_T;
  const bool fits = (ta ? la.columns : la.rows) == ld.rows && (tb ? lb.rows : lb.columns) == ld.columns &&
                    (ta ? la.rows : la.columns) == (tb ? lb.columns : lb.rows);
  const bool types = la.bfloat16 == lb.bfloat16 && (la.bfloat16 ? p.compute == CUBLAS_COMPUTE_32F : !ld.bfloat16);
  if (!fits || !types || handle->device != stream->work->device || as<float>(alpha) != 1 || as<float>(beta) != 0 ||
      c != d || c_layout != d_layout || algorithm->data[0] != mark || size < workspace_bytes || d == a || d == b)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!aligned(a) || !aligned(b) || !aligned(d) || !aligned(workspace)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool with_vector = p.epilogue == CUBLASLT_EPILOGUE_BIAS || p.epilogue == CUBLASLT_EPILOGUE_BGRADB;
  if (with_vector ? p.vector == nullptr || !aligned(p.vector) : p.epilogue != CUBLASLT_EPILOGUE_DEFAULT)
    return CUBLAS_STATUS_INVALID_VALUE;
  const auto status = enqueue(stream, make_work([=] {
                                spoil(workspace, workspace_bytes);
                                multiply(p, la, lb, ld, {const_cast<void*>(a), la.bfloat16},
                                         {const_cast<void*>(b), lb.bfloat16}, {d, ld.bfloat16});
                                spoil(workspace, workspace_bytes);
                              }));
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
