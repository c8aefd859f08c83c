// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <cublasLt.h>

#include <lockstep/backend/cuda/cublaslt.hpp>

namespace lockstep_bench {

/// d = a^T b of square matrices of one type of elements, as fast as cuBLASLt can: unlike the backend's matmul it may
/// take any algorithm, sum in any order, and rely on addresses that are multiples of 256.
class fastest_product {
 public:
  fastest_product(lockstep::cuda_backend::context& c, std::int64_t side, cudaDataType_t elements) {
    namespace cuda = lockstep::cuda_backend;
    const auto precision = cuda::compute_type(elements, c.rounding());
    cuda::check(cublasLtMatmulDescCreate(descriptor_.out(), precision, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const std::int32_t transpose = CUBLAS_OP_T;
    cuda::check(
        cublasLtMatmulDescSetAttribute(descriptor_.get(), CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose)),
        "cublasLtMatmulDescSetAttribute");
    const auto extent = static_cast<std::uint64_t>(side);
    cuda::check(cublasLtMatrixLayoutCreate(matrix_.out(), elements, extent, extent, side),
                "cublasLtMatrixLayoutCreate");
    cuda::matmul_preference preference;
    cuda::check(cublasLtMatmulPreferenceCreate(preference.out()), "cublasLtMatmulPreferenceCreate");
    constexpr std::size_t most_workspace = std::size_t{32} << 20U;
    cuda::check(cublasLtMatmulPreferenceSetAttribute(preference.get(), CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                     &most_workspace, sizeof(most_workspace)),
                "cublasLtMatmulPreferenceSetAttribute");
    int count = 0;
    cuda::check(cublasLtMatmulAlgoGetHeuristic(c.library<cuda::cublaslt_library>().handle(), descriptor_.get(),
                                               matrix_.get(), matrix_.get(), matrix_.get(), matrix_.get(),
                                               preference.get(), 1, &found_, &count),
                "cublasLtMatmulAlgoGetHeuristic");
    if (count == 0) cuda::fail(CUBLAS_STATUS_NOT_SUPPORTED, "an algorithm for a matrix product");
  }

  [[nodiscard]] std::int64_t workspace_bytes() const { return static_cast<std::int64_t>(found_.workspaceSize); }

  void operator()(lockstep::cuda_backend::context& c, const void* a, const void* b, void* d, void* workspace) const {
    namespace cuda = lockstep::cuda_backend;
    const float one = 1;
    const float zero = 0;
    cuda::check(cublasLtMatmul(c.library<cuda::cublaslt_library>().handle(), descriptor_.get(), &one, a, matrix_.get(),
                               b, matrix_.get(), &zero, d, matrix_.get(), d, matrix_.get(), &found_.algo, workspace,
                               found_.workspaceSize, c.stream()),
                "a matrix product to start (cublasLtMatmul)");
  }

 private:
  lockstep::cuda_backend::matmul_descriptor descriptor_;
  lockstep::cuda_backend::matrix_layout matrix_;
  cublasLtMatmulHeuristicResult_t found_{};
};

}  // namespace lockstep_bench
