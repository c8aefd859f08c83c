// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <cublasLt.h>
#include <cuda_bf16.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/handle.hpp>
#include <lockstep/backend/cuda/staging.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>

/// \file
/// Everything that touches cuBLASLt's own types.

namespace lockstep::cuda_backend {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail(cublasStatus_t status, std::string_view what) {
  const bool memory = status == CUBLAS_STATUS_ALLOC_FAILED;
  const bool place = status == CUBLAS_STATUS_NOT_INITIALIZED || status == CUBLAS_STATUS_ARCH_MISMATCH;
  throw backend_error("cuBLASLt", what,
                      std::string(cublasLtGetStatusName(status)) + " (" + std::to_string(static_cast<int>(status)) +
                          ", cuBLASLt " + std::to_string(cublasLtGetVersion()) + ")" + device_text(),
                      memory  ? memory_text() + ": take smaller batches, or end what else uses the device"
                      : place ? driver_text() + ": see that this cuBLAS supports the device and the driver"
                              : std::string());
}

/// Throws backend_error, naming what was attempted, unless `status` tells of success.
inline void check(cublasStatus_t status, std::string_view what) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    fail(status, what);
}

/// A context's cuBLASLt handle.
class cublaslt_library {
 public:
  [[gnu::cold]] explicit cublaslt_library(context& c) {
    const device_scope here(c.device());
    check(cublasLtCreate(handle_.out()), "a handle (cublasLtCreate)");
  }

  [[nodiscard]] cublasLtHandle_t handle() const noexcept { return handle_.get(); }

 private:
  cuda_backend::handle<cublasLtHandle_t, cublasLtDestroy> handle_;
};

using matmul_descriptor = handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using matrix_layout = handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using matmul_preference = handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

/// What a product computes beside d, in the same kernel.
enum class matmul_epilogue {
  none,
  add_vector,  ///< adds a vector of m elements to each column of d
  sums_of_b,   ///< writes the sums of op(b) over the inner dimension, a vector of n elements
};

/// What cuBLASLt calls a type of elements.
template <class T>
inline constexpr cudaDataType_t library_type = CUDA_R_32F;
template <>
inline constexpr cudaDataType_t library_type<__nv_bfloat16> = CUDA_R_16BF;

/// The shape of d (m x n) = op(a) op(b); the inner dimension is k. Matrices are column-major and packed: a is m x k, or
/// k x m when transposed; b is k x n, or n x k.
struct matmul_shape {
  std::int64_t m = 1;
  std::int64_t n = 1;
  std::int64_t k = 1;
  bool transpose_a = false;
  bool transpose_b = false;
  cudaDataType_t factors = CUDA_R_32F;  ///< elements of a and b
  cudaDataType_t result = CUDA_R_32F;   ///< elements of d and of the epilogue's vector
  matmul_epilogue epilogue = matmul_epilogue::none;
};

/// The compute type where float32 factors may be rounded as `allowed` says; other factors stay as they are.
[[nodiscard]] constexpr cublasComputeType_t compute_type(cudaDataType_t factors, factor_rounding allowed) {
  if (factors != CUDA_R_32F) return CUBLAS_COMPUTE_32F;
  switch (allowed) {
    case factor_rounding::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case factor_rounding::bf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
    case factor_rounding::none:
      break;
  }
  return CUBLAS_COMPUTE_32F;
}

/// One matrix product, summed in float32 by an algorithm that is chosen once. The operands, the epilogue's vector among
/// them, lie at multiples of library_alignment. Not in place: d is neither a nor b.
class matmul {
 public:
  matmul() = default;

  /// Throws backend_error when cuBLASLt has no algorithm.
  [[gnu::cold]] matmul(context& c, const matmul_shape& s) : matmul(s, c.rounding()) {
    if (const cublasStatus_t status = choose(c); status != CUBLAS_STATUS_SUCCESS)
      fail(status, "an algorithm for a matrix product (cublasLtMatmulAlgoGetHeuristic)");
  }

  /// The product with the epilogue `wanted` where cuBLASLt has an algorithm for it, else without: not every epilogue
  /// comes with every shape. Throws backend_error as the constructor does.
  [[nodiscard, gnu::cold]] static matmul with_epilogue_if_offered(context& c, const matmul_shape& s,
                                                                  matmul_epilogue wanted) {
    matmul_shape with = s;
    with.epilogue = wanted;
    matmul made(with, c.rounding());
    const cublasStatus_t status = made.choose(c);
    if (status == CUBLAS_STATUS_SUCCESS) return made;
    // Both statuses say that the epilogue is not available. Any other is an error, which must not be hidden.
    if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
      fail(status, "an algorithm for a matrix product (cublasLtMatmulAlgoGetHeuristic)");
    return {c, s};
  }

  [[nodiscard]] matmul_epilogue epilogue() const noexcept { return epilogue_; }
  /// Bytes of workspace that the product needs, at an address that is a multiple of 256.
  [[nodiscard]] std::int64_t workspace_bytes() const noexcept { return workspace_bytes_; }

  /// Enqueues d = op(a) op(b); the epilogue adds the vector `added`, or writes its sums to `sums`.
  void operator()(context& c, const void* a, const void* b, void* d, void* workspace, const void* added = nullptr,
                  void* sums = nullptr) const {
    const float one = 1;
    const float zero = 0;  // d is not read
    if (const void* const vector = epilogue_ == matmul_epilogue::sums_of_b ? sums : added; vector != nullptr)
      point_to_vector(vector);
    check(cublasLtMatmul(c.template library<cublaslt_library>().handle(), descriptor_.get(), &one, a, a_.get(), b,
                         b_.get(), &zero, d, d_.get(), d, d_.get(), &algorithm_, workspace,
                         static_cast<std::size_t>(workspace_bytes_), c.stream()),
          "a matrix product to start (cublasLtMatmul)");
  }

 private:
  static constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20U;
  static constexpr std::uint32_t alignment = static_cast<std::uint32_t>(library_alignment);

  matmul(const matmul_shape& s, factor_rounding rounding) : epilogue_(s.epilogue), result_(s.result) {
    check(cublasLtMatmulDescCreate(descriptor_.out(), compute_type(s.factors, rounding), CUDA_R_32F),
          "a matrix product (cublasLtMatmulDescCreate)");
    set(CUBLASLT_MATMUL_DESC_TRANSA, operation(s.transpose_a));
    set(CUBLASLT_MATMUL_DESC_TRANSB, operation(s.transpose_b));
    a_ = layout(s.factors, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k);
    b_ = layout(s.factors, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n);
    d_ = layout(s.result, s.m, s.n);
    if (s.epilogue == matmul_epilogue::add_vector)
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::int32_t{CUBLASLT_EPILOGUE_BIAS});
    if (s.epilogue == matmul_epilogue::sums_of_b)
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::int32_t{CUBLASLT_EPILOGUE_BGRADB});
    // The heuristic knows the vector's alignment by its address alone; without one it may assume any.
    if (s.epilogue != matmul_epilogue::none) point_to_vector(reinterpret_cast<const void*>(library_alignment));
  }

  void point_to_vector(const void* vector) const {
    check(cublasLtMatmulDescSetAttribute(descriptor_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof(vector)),
          "the vector of a matrix product (cublasLtMatmulDescSetAttribute)");
  }

  static std::int32_t operation(bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; }

  static matrix_layout layout(cudaDataType_t elements, std::int64_t rows, std::int64_t columns) {
    matrix_layout made;
    check(cublasLtMatrixLayoutCreate(made.out(), elements, static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), rows),
          "a matrix layout (cublasLtMatrixLayoutCreate)");
    return made;
  }

  void set(cublasLtMatmulDescAttributes_t attribute, std::int32_t value) {
    check(cublasLtMatmulDescSetAttribute(descriptor_.get(), attribute, &value, sizeof(value)),
          "an attribute of a matrix product (cublasLtMatmulDescSetAttribute)");
  }

  template <class T>
  static void prefer(const matmul_preference& p, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    check(cublasLtMatmulPreferenceSetAttribute(p.get(), attribute, &value, sizeof(value)),
          "a preference among algorithms (cublasLtMatmulPreferenceSetAttribute)");
  }

  /// How the parts of a dot product that an algorithm computes side by side may be added up, so that the bits are the
  /// same in every run on one kind of device. In a second step from the workspace (COMPUTE_TYPE), the order is fixed.
  /// In the result itself (INPLACE), the parts wait for their turn, so it is fixed as well; but each addition rounds to
  /// the result's type, which only float32 bears. The manual does not say how sums of columns would be split, so they
  /// are not split.
  [[nodiscard]] std::uint32_t reductions() const noexcept {
    if (epilogue_ == matmul_epilogue::sums_of_b) return CUBLASLT_REDUCTION_SCHEME_NONE;
    return CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
           (result_ == CUDA_R_32F ? CUBLASLT_REDUCTION_SCHEME_INPLACE : CUBLASLT_REDUCTION_SCHEME_NONE);
  }

  /// Takes the first algorithm that cuBLASLt's heuristic names; returns the status that says why there is none.
  [[nodiscard, gnu::cold]] cublasStatus_t choose(context& c) {
    matmul_preference p;
    check(cublasLtMatmulPreferenceCreate(p.out()), "a choice of algorithm (cublasLtMatmulPreferenceCreate)");
    prefer(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
    prefer(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions());
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment);

    std::array<cublasLtMatmulHeuristicResult_t, 8> found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        c.template library<cublaslt_library>().handle(), descriptor_.get(), a_.get(), b_.get(), d_.get(), d_.get(),
        p.get(), static_cast<int>(found.size()), found.data(), &count);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      if (found[i].state == CUBLAS_STATUS_SUCCESS && found[i].workspaceSize <= most_workspace) {
        algorithm_ = found[i].algo;
        workspace_bytes_ = static_cast<std::int64_t>(found[i].workspaceSize);
        return CUBLAS_STATUS_SUCCESS;
      }
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }

  matmul_descriptor descriptor_;
  matrix_layout a_, b_, d_;
  matmul_epilogue epilogue_ = matmul_epilogue::none;
  cudaDataType_t result_ = CUDA_R_32F;
  cublasLtMatmulAlgo_t algorithm_{};
  std::int64_t workspace_bytes_ = 0;
};

}  // namespace lockstep::cuda_backend
